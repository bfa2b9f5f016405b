"""The queue: each method is one call of one Lua script, so a task is never between two places."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from taskqueue import scripts
from taskqueue.core import SLICE
from taskqueue.errors import IdempotencyConflictError
from taskqueue.model import (
    MICROSECOND,
    Claim,
    ClaimReply,
    NewTask,
    Next,
    Outcome,
    ReapReply,
    Receipt,
    Retention,
)
from taskqueue.operations import QueueOperations
from taskqueue.reads import QueueReads

SLICE_BYTES = 1_048_576
"""Payloads a script call, about: Redis copies them into Lua, and others wait meanwhile."""
REAP_GAP_US = 2 * MICROSECOND
FORGET_WORKER_US = 60 * MICROSECOND
POISON_KILLS = 3
"""Sidekiq Enterprise's number ("poison pill"): twice may be bad luck, and the third time it ran alone."""
AGE_US = 60 * MICROSECOND
"""After this long a waiting task moves up a priority."""
_encode = msgspec.msgpack.Encoder().encode


class Queue(QueueReads, QueueOperations):
    """One named queue on one Redis: what producers and workers do, what is read, what operators do.

    Every method raises QueueUnavailableError when Redis cannot be reached.
    """

    async def enqueue(
        self, tasks: Iterable[NewTask], *, durably: bool = False
    ) -> list[Receipt | IdempotencyConflictError]:
        """Stores and queues tasks; per task its receipt, or the error if its idempotency key came
        before with another body.

        Idempotent by id, so a call whose answer was lost is simply made again. Runs in slices of
        200; raises QueueFullError before the first write of the slice that did not fit.

        `durably` waits until Redis has them on disk; QueueUnavailableError if that takes over 3 s
        (they are stored, and may yet be), UnsuitableRedisError where Redis has no WAITAOF.
        """
        receipts: list[Receipt | IdempotencyConflictError] = []
        for part in slices(tasks):
            run = self._run_durably if durably else self._run
            answers = await run(scripts.ENQUEUE, wire_tasks(part))
            receipts += map(receipt, part, answers)
        return receipts

    async def settle_and_claim(
        self,
        worker: str,
        sequence: int,
        outcomes: Sequence[Outcome],
        want: int,
        *,
        lease_us: int,
        wait_us: int,
        held_beside: int = 0,
    ) -> ClaimReply:
        """Reports outcomes and takes up to `want` tasks in one round trip.

        `held_beside` is the number of tasks held beside those reported. A call with the sequence
        number of the last one is a repeat: it answers the same again.
        """
        lost, flat, after = await self._run(
            scripts.SETTLE_AND_CLAIM,
            worker,
            sequence,
            lease_us,
            want,
            wait_us,
            held_beside,
            _encode([_wire_outcome(o) for o in outcomes]),
        )
        return ClaimReply(_texts(lost), _claims(flat), Next(after))

    async def renew(self, held: Iterable[tuple[str, int, bytes | None]], *, lease_us: int) -> list[str]:
        """Extends the leases of (id, epoch, progress) and stores progress (JSON) where there is
        some; returns the ids that are no longer held.
        """
        lost: list[str] = []
        rest = iter(held)
        while part := list(islice(rest, SLICE)):
            lost += _texts(
                await self._run(
                    scripts.RENEW, lease_us, _encode([(i, e, p and p.decode()) for i, e, p in part])
                )
            )
        return lost

    async def release(self, worker: str, held: Iterable[tuple[str, int, bool]], *, leave: bool) -> list[str]:
        """Hands back (id, epoch, begun) tasks to the head of the queue; `leave` forgets the worker.

        An attempt that was not begun is not counted. Returns the ids that were no longer held.
        """
        lost: list[str] = []
        every = list(held)
        for start in range(0, max(1, len(every)), SLICE):
            last = leave and start + SLICE >= len(every)
            part = every[start : start + SLICE]
            lost += _texts(await self._run(scripts.RELEASE, worker, int(last), _encode(part)))
        return lost

    async def reap(
        self,
        worker: str,
        *,
        lease_us: int,
        retention: Retention,
        poison_kills: int = POISON_KILLS,
        about: bytes = b"{}",
    ) -> ReapReply:
        """Takes back what lapsed, queues what is due, removes what is past its retention.

        `about` (JSON) is what the list of workers shows of this one.
        """
        lapsed, more, next_due, asked = await self._run(
            scripts.REAP,
            worker,
            lease_us,
            REAP_GAP_US,
            FORGET_WORKER_US,
            poison_kills,
            AGE_US,
            _encode(retention),
            about,
        )
        return ReapReply(_texts(lapsed), bool(more), None if next_due < 0 else int(next_due), _texts(asked))

    async def wait_for_wake(self, timeout_s: float) -> bool:
        """Blocks until work may be there; False when the time ran out.

        The connection's own time-out has to be longer than `timeout_s`.
        """
        return await self._connection.command("BLPOP", self.prefix + "wake", timeout_s) is not None


def wire_tasks(part: list[NewTask]) -> bytes:
    """What the enqueue script reads. Redis' msgpack knows no bin type: bytes go as text."""
    return _encode([(t.id, t.type, t.data.decode(), t.extra) for t in part])


def _wire_outcome(o: Outcome) -> tuple[Any, ...]:
    return (o.id, o.epoch, o.status, o.result.decode(), o.retry_in_us, o.counts)


def slices(tasks: Iterable[NewTask]) -> Iterator[list[NewTask]]:
    """Parts of at most 200 tasks and about 1 MiB of payload, in their order."""
    part: list[NewTask] = []
    size = 0
    for task in tasks:
        part.append(task)
        size += len(task.data)
        if len(part) == SLICE or size >= SLICE_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def receipt(task: NewTask, answer: int | bytes) -> Receipt | IdempotencyConflictError:
    """What the enqueue script answered for one task."""
    if answer == 1:
        return Receipt(task.id, stored=True)
    if answer == 0:
        return Receipt(task.id, stored=False)
    if isinstance(answer, bytes):
        return Receipt(answer.decode(), stored=False)
    return IdempotencyConflictError("this idempotency key was used before with another body")


def _claims(flat: list[Any]) -> list[Claim]:
    fields = iter(flat)
    return [
        Claim(task_id.decode(), int(epoch), kind.decode(), data, int(created), int(attempt), options)
        for task_id, epoch, kind, data, created, attempt, options in zip(*[fields] * 7, strict=True)
    ]


def _texts(ids: list[bytes]) -> list[str]:
    return [task_id.decode() for task_id in ids]
