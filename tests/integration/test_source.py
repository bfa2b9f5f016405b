"""What a worker holds of a queue, on a real Redis: nothing it holds, or has to report, is forgotten."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from taskqueue.connection import Connection
from taskqueue.errors import QueueUnavailableError
from taskqueue.model import Outcome
from taskqueue.queue import Queue
from taskqueue.states import Status
from worker.context import Lease, Stop
from worker.settings import WorkerSettings
from worker.slots import Slots
from worker.source import Source

from tests.fixtures.processes import RedisServer
from tests.integration.clients import holds, put
from tests.integration.conftest import Clock
from tests.integration.test_queue import Worker, let_lapse


async def for_ever(_lease: Lease) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def slots() -> AsyncIterator[Slots]:
    made = Slots(1, for_ever, lambda _: (None, None), prefetch=True)
    yield made
    await made.close()


def source_of(queue: Queue, slots: Slots) -> Source:
    return Source(queue, queue, "me", slots, WorkerSettings(), lambda: b"{}", asyncio.Event())


def never() -> float | None:
    return None


async def claim(source: Source, want: int) -> list[Lease]:
    reply, sent = await source.call(want, len(source.held), never)
    leases = [Lease(one, sent + 10, source.report) for one in reply.claims]
    for lease in leases:
        source.hold(lease)
    return leases


def done(lease: Lease) -> Outcome:
    return Outcome(lease.claim.id, lease.claim.epoch, Status.COMPLETED)


async def test_a_task_that_waits_in_the_worker_is_cancelled_unbegun(live: Queue, slots: Slots) -> None:
    ids = [await put(live, "nap") for _ in range(2)]
    source = source_of(live, slots)
    slots.start(await claim(source, 2))
    await asyncio.sleep(0)
    assert await live.cancel([ids[1]]) == ["cancelling"]
    house = asyncio.create_task(source.reap())
    try:
        await holds(lambda: _reported(source), "the worker has heard of it", 3)
    finally:
        house.cancel()
    await source.call(0, 2, never)
    task = await live.get(ids[1])
    assert (task.status, task.cancelling, list(source.held)) == (Status.CANCELLED, False, [ids[0]])
    assert [lease.claim.id for lease in slots.running.values()] == [ids[0]]


async def _reported(source: Source) -> bool:
    return bool(source.outcomes)


async def test_a_task_claimed_again_by_the_same_worker_is_held_by_its_newer_claim(
    queue: Queue, clock: Clock, slots: Slots
) -> None:
    task_id = await put(queue, "nap")
    source = source_of(queue, slots)
    (older,) = await claim(source, 1)
    slots.start([older])
    await asyncio.sleep(0)
    await let_lapse(Worker(queue, "another"), clock)
    (newer,) = await claim(source, 1)
    assert (older.stop, newer.stop) == (Stop.LEASE_LOST, None)
    source.report(older, done(older))
    reply, _ = await source.call(0, 1, never)
    assert reply.lost == [task_id]
    assert source.held == {task_id: newer}
    source.report(older, None)
    assert source.held == {task_id: newer}


async def test_what_could_not_be_reported_is_reported_again(
    own_redis: RedisServer, connect: Callable[[RedisServer], Connection], slots: Slots
) -> None:
    queue = Queue(connect(own_redis))
    task_id = await put(queue, "nap")
    source = source_of(queue, slots)
    (lease,) = await claim(source, 1)
    source.report(lease, done(lease))
    own_redis.kill()
    with pytest.raises(QueueUnavailableError):
        await source.call(0, 1, time.monotonic)
    own_redis.start()
    await source.call(0, 1, never)
    assert (await queue.get(task_id)).status is Status.COMPLETED
    assert source.held == {}
