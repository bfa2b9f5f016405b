"""Idempotency keys: the same key and body make one task, another body is refused, for a day."""

from taskqueue.errors import IdempotencyConflictError
from taskqueue.model import IDEMPOTENCY_TTL_US, NewTask, Receipt
from taskqueue.queue import Queue

from tests.fixtures.processes import RedisServer
from tests.integration.conftest import Clock
from tests.integration.queue_calls import Worker, completed, tasks


def keyed(body: str = "x", key: str = "k") -> NewTask:
    return tasks(1, key=key, body=body, ttl_us=IDEMPOTENCY_TTL_US)[0]


async def test_the_same_key_and_body_give_the_task_that_they_made_before(queue: Queue) -> None:
    first, again = keyed(), keyed()
    assert await queue.enqueue([first]) == [Receipt(first.id, stored=True)]
    assert await queue.enqueue([again]) == [Receipt(first.id, stored=False)]
    assert await queue.enqueue([first]) == [Receipt(first.id, stored=False)], "a repeat after a lost reply"
    stats = await queue.stats()
    assert (stats.queued, stats.totals["enqueued"]) == (1, 1)


async def test_the_same_key_with_another_body_is_refused(queue: Queue) -> None:
    first, other, third = keyed(), keyed("y"), keyed("y", "another key")
    (stored, refused, fine) = await queue.enqueue([first, other, third])
    assert stored == Receipt(first.id, stored=True)
    assert isinstance(refused, IdempotencyConflictError)
    assert fine == Receipt(third.id, stored=True)
    assert (await queue.stats()).stored == 2


async def test_a_key_in_one_batch_twice_makes_one_task(queue: Queue) -> None:
    first, again = keyed(), keyed()
    assert [r.task_id for r in await queue.enqueue([first, again]) if isinstance(r, Receipt)] == [
        first.id
    ] * 2


async def test_a_key_is_free_again_after_a_day(queue: Queue, clock: Clock) -> None:
    first, early, late = keyed(), keyed("y"), keyed("y")
    await queue.enqueue([first])
    clock.pass_s(86_399)
    assert isinstance((await queue.enqueue([early]))[0], IdempotencyConflictError)
    clock.pass_s(1)
    assert await queue.enqueue([late]) == [Receipt(late.id, stored=True)]


async def test_a_key_outlives_the_task_that_it_made(queue: Queue) -> None:
    first = keyed()
    await queue.enqueue([first])
    worker = Worker(queue, "a")
    await worker.call(0, completed((await worker.claim())[0]))
    await queue.purge([first.id])
    assert await queue.enqueue([keyed()]) == [Receipt(first.id, stored=False)]


async def test_redis_forgets_a_key_by_itself(queue: Queue, redis: RedisServer) -> None:
    await queue.enqueue([keyed()])
    left_ms = int(redis.cli("pttl", f"{queue.prefix}idem:k"))
    assert 86_000_000 < left_ms <= 86_400_000
