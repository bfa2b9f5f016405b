"""The scripts on a real Redis, with the clock in the test's hand."""

import asyncio
from collections.abc import Callable

import pytest
from taskqueue import suitability
from taskqueue.connection import Connection
from taskqueue.errors import QueueFullError, TaskNotFoundError, UnsuitableRedisError
from taskqueue.ids import new_id
from taskqueue.model import MICROSECOND, Claim, ClaimReply, NewTask, Outcome, Receipt, Retention
from taskqueue.queue import Queue
from taskqueue.states import Status

from tests.fixtures.processes import RedisServer
from tests.integration.conftest import Clock

LEASE_US = 10 * MICROSECOND
WAIT_US = 6 * MICROSECOND
RETENTION = Retention.uniform(86_400 * MICROSECOND)


class Worker:
    """Calls the queue as a worker does: a name and a sequence number."""

    def __init__(self, queue: Queue, name: str) -> None:
        self.queue = queue
        self.name = name
        self.sequence = 0

    async def call(self, want: int, *outcomes: Outcome, repeat: bool = False) -> ClaimReply:
        self.sequence += 0 if repeat else 1
        return await self.queue.settle_and_claim(
            self.name, self.sequence, outcomes, want, lease_us=LEASE_US, wait_us=WAIT_US
        )

    async def claim(self, want: int = 1) -> list[Claim]:
        return (await self.call(want)).claims

    async def reap(self) -> list[str]:
        reply = await self.queue.reap(self.name, lease_us=LEASE_US, retention=RETENTION)
        return reply.lapsed


def completed(claim: Claim) -> Outcome:
    return Outcome(claim.id, claim.epoch, Status.COMPLETED, b'{"ok":true}')


def tasks(count: int) -> list[NewTask]:
    return [NewTask(new_id(), "email", b'{"n":%d}' % n) for n in range(count)]


async def stored(queue: Queue, count: int) -> list[NewTask]:
    made = tasks(count)
    assert await queue.enqueue(made) == [Receipt(task.id, stored=True) for task in made]
    return made


async def let_lapse(worker: Worker, clock: Clock, seconds: float = 10.5) -> list[str]:
    """Passes time in reap's own ticks, as running workers do; returns all that was taken back."""
    taken: list[str] = []
    for _ in range(int(seconds / 0.5)):
        clock.pass_s(0.5)
        taken += await worker.reap()
    return taken


async def test_an_enqueue_that_is_repeated_stores_the_task_once(queue: Queue) -> None:
    made = await stored(queue, 3)
    receipts = await queue.enqueue([*made, *tasks(1)])
    assert [isinstance(r, Receipt) and r.stored for r in receipts] == [False, False, False, True]
    assert (await queue.stats()).queued == 4


async def test_tasks_are_claimed_in_the_order_they_came(queue: Queue) -> None:
    made = await stored(queue, 450)
    worker = Worker(queue, "a")
    got = [c.id for _ in range(3) for c in await worker.claim(200)]
    assert got == [t.id for t in made]


async def test_a_claim_carries_the_task_and_counts_the_attempt(queue: Queue, clock: Clock) -> None:
    (made,) = await stored(queue, 1)
    (claim,) = await Worker(queue, "a").claim()
    assert claim == Claim(made.id, 1, "email", b'{"n":0}', clock.now_us, 1)
    assert (await queue.get(made.id)).status is Status.PROCESSING


async def test_a_settled_task_keeps_its_result_until_its_retention_has_passed(
    queue: Queue, clock: Clock, redis: RedisServer
) -> None:
    (made,) = await stored(queue, 1)
    worker = Worker(queue, "a")
    (claim,) = await worker.claim()
    assert (await worker.call(1, completed(claim))).lost == []
    task = await queue.get(made.id)
    assert (task.status, task.result) == (Status.COMPLETED, b'{"ok":true}')
    clock.pass_s(86_400 + 1)
    await worker.reap()
    with pytest.raises(TaskNotFoundError):
        await queue.get(made.id)
    await queue.release("a", [], leave=True)
    assert redis.cli("keys", "*") == queue.prefix + "counters", "a drained queue leaves its totals only"


async def test_a_repeated_claim_answers_the_same_tasks_and_settles_nothing_twice(queue: Queue) -> None:
    await stored(queue, 3)
    worker = Worker(queue, "a")
    (first,) = await worker.claim()
    reply = await worker.call(1, completed(first))
    again = await worker.call(1, completed(first), repeat=True)
    assert again == reply
    stats = await queue.stats()
    assert (stats.completed, stats.processing, stats.queued, stats.totals["completed"]) == (1, 1, 1, 1)


async def test_a_lapsed_lease_is_taken_back_and_the_old_holder_is_fenced_off(
    queue: Queue, clock: Clock
) -> None:
    (made,) = await stored(queue, 1)
    dead, alive = Worker(queue, "dead"), Worker(queue, "alive")
    (old,) = await dead.claim()
    await alive.reap()
    assert await let_lapse(alive, clock) == [made.id]
    (new,) = await alive.claim()
    assert (new.id, new.epoch, new.attempt) == (made.id, old.epoch + 1, 2)
    assert (await dead.call(0, completed(old))).lost == [made.id]
    assert (await queue.get(made.id)).status is Status.PROCESSING
    assert (await alive.call(0, completed(new))).lost == []


async def test_a_report_after_the_lease_was_taken_back_is_refused_even_if_nobody_claimed_since(
    queue: Queue, clock: Clock
) -> None:
    (made,) = await stored(queue, 1)
    slow, other = Worker(queue, "slow"), Worker(queue, "other")
    (claim,) = await slow.claim()
    await other.reap()
    await let_lapse(other, clock)
    assert (await slow.call(0, completed(claim))).lost == [made.id]
    assert (await queue.get(made.id)).status is Status.QUEUED


async def test_a_renewed_lease_is_never_taken_back(queue: Queue, clock: Clock) -> None:
    await stored(queue, 1)
    worker, other = Worker(queue, "a"), Worker(queue, "b")
    (claim,) = await worker.claim()
    await other.reap()
    for _ in range(20):
        assert await queue.renew([(claim.id, claim.epoch, None)], lease_us=LEASE_US) == []
        assert await let_lapse(other, clock, 3) == []
    assert (await worker.call(0, completed(claim))).lost == []


async def test_renewing_tells_which_leases_are_lost(queue: Queue, clock: Clock) -> None:
    made = await stored(queue, 2)
    worker, other = Worker(queue, "a"), Worker(queue, "b")
    first, second = await worker.claim(2)
    await worker.call(0, completed(first))
    held = [(c.id, c.epoch + more, None) for c, more in ((first, 0), (second, 0), (second, 1))]
    assert await queue.renew(held, lease_us=LEASE_US) == [made[0].id, made[1].id]
    assert await other.claim() == []


async def test_after_redis_was_away_every_holder_gets_a_full_lease_first(queue: Queue, clock: Clock) -> None:
    (made,) = await stored(queue, 1)
    worker = Worker(queue, "a")
    await worker.claim()
    await worker.reap()
    clock.pass_s(3600)
    assert await worker.reap() == []
    assert await let_lapse(worker, clock, 9) == []
    assert await let_lapse(worker, clock, 2) == [made.id]


async def test_released_tasks_go_to_the_head_and_unbegun_attempts_do_not_count(queue: Queue) -> None:
    made = await stored(queue, 3)
    worker = Worker(queue, "a")
    first, second = await worker.claim(2)
    assert await queue.release("a", [(first.id, 1, False), (second.id, 1, True)], leave=True) == []
    again = await Worker(queue, "b").claim(3)
    assert [c.id for c in again] == [t.id for t in made]
    assert [c.attempt for c in again] == [1, 2, 1]


async def test_a_retry_waits_for_its_time(queue: Queue, clock: Clock) -> None:
    (made,) = await stored(queue, 1)
    worker = Worker(queue, "a")
    (claim,) = await worker.claim()
    retry = Outcome(claim.id, claim.epoch, Status.SCHEDULED, b'{"error":"x"}', 5 * MICROSECOND)
    assert (await worker.call(1, retry)).claims == []
    assert (await queue.get(made.id)).status is Status.SCHEDULED
    clock.pass_s(4.9)
    assert await worker.claim() == []
    clock.pass_s(0.2)
    (again,) = await worker.claim()
    assert (again.id, again.attempt) == (made.id, 2)


async def test_wake_tokens_never_exceed_the_waiting_workers(queue: Queue, redis: RedisServer) -> None:
    await stored(queue, 1)
    assert redis.cli("llen", queue.prefix + "wake") == "0", "nobody waits"
    worker = Worker(queue, "a")
    await worker.claim(2)
    await Worker(queue, "b").claim(2)
    await stored(queue, 50)
    assert redis.cli("llen", queue.prefix + "wake") == "2"


async def test_a_token_that_reaches_a_full_worker_is_handed_on(queue: Queue, redis: RedisServer) -> None:
    full, idle = Worker(queue, "full"), Worker(queue, "idle")
    await full.claim(1)
    await idle.claim(1)
    await stored(queue, 2)
    await full.claim(1)
    redis.cli("del", queue.prefix + "wake")  # tokens that went to workers with no free place
    await full.call(0)
    assert redis.cli("llen", queue.prefix + "wake") == "1"


async def test_a_waiting_worker_wakes_when_a_task_comes(
    redis: RedisServer, connect: Callable[[RedisServer], Connection]
) -> None:
    queue, waking = Queue(connect(redis)), Queue(connect(redis))
    await Worker(queue, "a").claim()
    waiting = asyncio.create_task(waking.wait_for_wake(4))
    await stored(queue, 1)
    assert await waiting


async def test_pages_go_newest_first_and_stay_stable_while_tasks_come(queue: Queue) -> None:
    made = [t.id for t in await stored(queue, 25)]
    first = await queue.page(10)
    await stored(queue, 5)
    second = await queue.page(10, first.next)
    third = await queue.page(10, second.next)
    assert [t.id for page in (first, second, third) for t in page.tasks] == made[::-1]
    assert (first.count, second.count, third.next) == (25, 30, None)


async def test_a_full_redis_refuses_new_tasks_and_still_drains(queue: Queue, redis: RedisServer) -> None:
    await stored(queue, 5)
    redis.cli("config", "set", "maxmemory", "1")
    try:
        with pytest.raises(QueueFullError):
            await queue.enqueue(tasks(1))
        worker = Worker(queue, "a")
        for _ in range(5):
            (claim,) = await worker.claim()
            await worker.call(0, completed(claim))
            await queue.renew([(claim.id, claim.epoch, None)], lease_us=LEASE_US)
            await worker.reap()
        assert (await queue.stats()).completed == 5
    finally:
        redis.cli("config", "set", "maxmemory", "0")


async def test_a_redis_that_may_evict_is_refused(
    redis: RedisServer, connect: Callable[[RedisServer], Connection]
) -> None:
    connection = connect(redis)
    await suitability.check(connection, require_aof=False)
    redis.cli("config", "set", "maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(UnsuitableRedisError, match="noeviction"):
            await suitability.check(connection, require_aof=False)
    finally:
        redis.cli("config", "set", "maxmemory-policy", "noeviction")
