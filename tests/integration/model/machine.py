"""Calls the queue in any order, with any outcomes and at any time, and compares it with the prediction."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from taskqueue.connection import Connection
from taskqueue.errors import IdempotencyConflictError
from taskqueue.model import (
    MICROSECOND,
    ClaimReply,
    Extra,
    Kept,
    NewTask,
    Outcome,
    Retention,
)
from taskqueue.queue import Queue
from taskqueue.states import Status

from tests.integration.model.choices import BEGIN_US, OUTCOMES, STEPS, TYPES, Draw, extras
from tests.integration.model.invariants import check_invariants
from tests.integration.model.keyspace import keyspace
from tests.integration.model.prediction import Prediction
from tests.integration.model.worker import Worker

LEASE_US = 10 * MICROSECOND
WAIT_US = 6 * MICROSECOND
T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """The queue under test, and the loop that its connection belongs to."""

    connection: Connection
    loop: asyncio.AbstractEventLoop


class QueueMachine(RuleBasedStateMachine):
    """Every rule makes one call on both sides; after each, Redis must hold what the model says."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target
        self.world = Prediction(BEGIN_US)
        self.queue = Queue(target.connection, clock=lambda: self.world.now)
        self.workers = [Worker(f"w{i}") for i in range(3)]
        self.born = 3
        self.ids: list[str] = []
        self.command("FLUSHALL")

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.target.loop.run_until_complete(coroutine)

    def command(self, *words: str) -> Any:
        return self.call(self.target.connection.command(*words))

    # -- set up -----------------------------------------------------------------------------

    @initialize(
        age_s=st.sampled_from((30, 3600)),
        count=st.sampled_from((0, 0, 2)),
        kills=st.sampled_from((3, 3, 0, 1, 2)),
    )
    def settings(self, age_s: int, count: int, kills: int) -> None:
        self.retention = Retention(
            completed=Kept(age_s * MICROSECOND, count),
            failed=Kept(2 * age_s * MICROSECOND, count),
            cancelled=Kept(age_s * MICROSECOND, 0),
        )
        self.kills = kills
        self.command("HSET", self.queue.prefix + "modes", "once", "at-most-once")
        self.world.modes.add("once")
        kinds = [
            (None, "email"),
            (None, "once"),
            (Extra(priority=2), "email"),
            (Extra(delay_us=MICROSECOND), "email"),
        ]
        self._enqueue([NewTask(self._new_id(), kind, b"{}", extra) for extra, kind in kinds])

    @rule(data=st.data(), step=st.sampled_from(STEPS))
    def step(self, data: st.DataObject, step: str) -> None:
        """One rule for all: Hypothesis leaves out some rules in each history, and most would be idle ones."""
        getattr(self, step)(data.draw)

    # -- producers --------------------------------------------------------------------------

    def enqueue(self, draw: Draw) -> None:
        batch: list[NewTask] = []
        for kind, extra in draw(
            st.lists(st.tuples(st.sampled_from(TYPES), extras()), min_size=1, max_size=3)
        ):
            again = bool(self.ids) and draw(st.integers(0, 4)) == 0
            task_id = draw(self._some_id()) if again else self._new_id()
            batch.append(NewTask(task_id, kind, b'{"n":%d}' % len(self.ids), extra))
        self._enqueue(batch)

    def enqueue_many(self, draw: Draw) -> None:
        extra = draw(st.sampled_from((None, None, Extra(priority=2))))
        self._enqueue(
            [NewTask(self._new_id(), "email", b"{}", extra) for _ in range(draw(st.integers(3, 9)))]
        )

    def _enqueue(self, batch: list[NewTask]) -> None:
        receipts = self.call(self.queue.enqueue(batch))
        got = [None if isinstance(each, IdempotencyConflictError) else each for each in receipts]
        assert got == self.world.enqueue(batch)

    def newer_producer(self, draw: Draw) -> None:
        """Makes a task one of a later form than the scripts know."""
        waiting = [t.id for t in self.world.tasks.values() if t.form == 2 and t.status is Status.QUEUED]
        if waiting:
            task_id = draw(st.sampled_from(waiting))
            self.command("HSET", f"{self.queue.prefix}task:{task_id}", "v", "3")
            self.world.tasks[task_id].form = 3

    # -- workers ----------------------------------------------------------------------------

    def work(self, draw: Draw) -> None:
        worker = draw(st.sampled_from(self.workers))
        settled = [(i, e) for i, e in worker.held.items() if draw(st.integers(0, 2))]
        outcomes = [self._outcome(draw, task_id, epoch) for task_id, epoch in settled]
        worker.sequence += 1
        want = min(draw(st.sampled_from((3, 1, 4, 0))), worker.may_take(len(settled)))
        worker.last = (outcomes, want, len(worker.held) - len(settled))
        worker.heed(self._claim(worker), outcomes)

    def repeat(self, draw: Draw) -> None:
        """The answer of the last call was lost."""
        if callers := [worker for worker in self.workers if worker.last]:
            worker = draw(st.sampled_from(callers))
            worker.heed(self._claim(worker), [])

    def _claim(self, worker: Worker) -> ClaimReply:
        assert worker.last is not None
        outcomes, want, beside = worker.last
        words = (worker.name, worker.sequence, outcomes, want)
        spans = {"lease_us": LEASE_US, "wait_us": WAIT_US, "held_beside": beside}
        reply = self.call(self.queue.settle_and_claim(*words, **spans))
        assert reply == self.world.settle_and_claim(*words, **spans)
        return reply

    def _outcome(self, draw: Draw, task_id: str, epoch: int) -> Outcome:
        status, wait_s, counts = draw(st.sampled_from(OUTCOMES))
        wrong = draw(st.integers(0, 9)) == 0
        result = b'{"is":"%s"}' % status.encode()
        return Outcome(task_id, epoch + wrong, status, result, wait_s * MICROSECOND, counts)

    def renew(self, draw: Draw) -> None:
        progress = draw(st.sampled_from((None, b'{"done":1}', b'{"done":2}')))
        held = [(i, e, progress) for i, e in draw(st.sampled_from(self.workers)).held.items()]
        assert self.call(self.queue.renew(held, lease_us=LEASE_US)) == self.world.renew(held, LEASE_US)

    def release(self, draw: Draw) -> None:
        worker = draw(st.sampled_from(self.workers))
        self._release(draw, worker, leave=False)
        worker.held, worker.last = {}, None

    def leave(self, draw: Draw) -> None:
        worker = draw(st.sampled_from(self.workers))
        self._release(draw, worker, leave=True)
        self._replace(worker)

    def _release(self, draw: Draw, worker: Worker, *, leave: bool) -> None:
        held = [(i, e, draw(st.booleans())) for i, e in worker.held.items()]
        lost = self.call(self.queue.release(worker.name, held, leave=leave))
        assert lost == self.world.release(worker.name, held, leave=leave)

    def kill(self, draw: Draw) -> None:
        self._replace(draw(st.sampled_from(self.workers)))

    def _replace(self, worker: Worker) -> None:
        self.workers[self.workers.index(worker)] = Worker(f"w{self.born}")
        self.born += 1

    def take_token(self, draw: Draw) -> None:
        taken = self.command("LPOP", self.queue.prefix + "wake")
        assert (taken is not None) == (self.world.tokens > 0)
        self.world.tokens = max(0, self.world.tokens - 1)

    # -- time -------------------------------------------------------------------------------

    def reaps(self, draw: Draw) -> None:
        """Time passes as it does with live workers."""
        worker = draw(st.sampled_from(self.workers))
        for _ in range(draw(st.sampled_from((1, 2, 6, 12)))):
            self.world.now += MICROSECOND * 19 // 10
            self._reap(worker)

    def gap(self, draw: Draw) -> None:
        """Time passes and nobody reaps: Redis, or every worker, was away."""
        self.world.now += draw(st.sampled_from((0, 1, 5, 40, 70, 4000, 90_000))) * MICROSECOND
        self._reap(draw(st.sampled_from(self.workers)))

    def _reap(self, worker: Worker) -> None:
        reply = self.call(
            self.queue.reap(worker.name, lease_us=LEASE_US, retention=self.retention, poison_kills=self.kills)
        )
        reply.asked.sort()
        assert reply == self.world.reap(worker.name, LEASE_US, self.retention, self.kills)

    # -- operators --------------------------------------------------------------------------

    def cancel(self, draw: Draw) -> None:
        ids = self._some_of_each_status(draw)
        assert self.call(self.queue.cancel(ids)) == self.world.cancel(ids)

    def purge(self, draw: Draw) -> None:
        ids = self._some_of_each_status(draw)
        assert self.call(self.queue.purge(ids)) == self.world.purge(ids)

    def redrive(self, draw: Draw) -> None:
        ids = self._some_of_each_status(draw)
        assert self.call(self.queue.redrive(ids)) == self.world.redrive(ids)

    def pause(self, draw: Draw) -> None:
        assert self.call(self.queue.pause()) == self.world.pause()

    def resume(self, draw: Draw) -> None:
        assert self.call(self.queue.resume()) == self.world.resume()

    def _some_of_each_status(self, draw: Draw) -> list[str]:
        """Ids of the rarer statuses as likely as of the others, and some of no task."""
        groups: dict[str, list[str]] = {"": ["t000", *self.ids[-1:]]}
        for task in self.world.tasks.values():
            groups.setdefault(task.status, []).append(task.id)
        chosen = st.sampled_from(sorted(groups)).flatmap(lambda status: st.sampled_from(groups[status]))
        return draw(st.lists(chosen, min_size=1, max_size=3))

    def _some_id(self) -> st.SearchStrategy[str]:
        return st.sampled_from(self.ids[-12:])

    def _new_id(self) -> str:
        self.ids.append(f"t{len(self.ids) + 1:03}")
        return self.ids[-1]

    # -- what must hold ---------------------------------------------------------------------

    @invariant()
    def redis_holds_what_the_model_says(self) -> None:
        found = self.call(keyspace(self.target.connection, self.queue.prefix))
        if "counters" in found:
            found["counters"] = {name: count for name, count in found["counters"].items() if count != "0"}
        if not found.get("counters", True):
            del found["counters"]
        check_invariants(found)
        expected = self.world.keyspace()
        assert found.keys() == expected.keys()
        for key, content in expected.items():
            assert found[key] == content, key
        stats = self.call(self.queue.stats())
        assert stats.queued == sum(t.status is Status.QUEUED for t in self.world.tasks.values())
        assert stats.stored == len(self.world.tasks)
