"""One worker's runtime on a real Redis, in the test's own loop: suspects, tokens, schedules."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from taskqueue.connection import Connection
from taskqueue.decoding import decoder
from taskqueue.model import MICROSECOND, Next
from taskqueue.queue import Queue
from taskqueue.states import Status
from worker.registry import TaskType
from worker.runtime import Runtime
from worker.settings import WorkerSettings

from tests.fixtures.processes import RedisServer
from tests.integration.clients import holds, put, reached
from tests.integration.test_queue import Worker


class Nap(msgspec.Struct):
    seconds: float = 0


async def nap(payload: Nap, context: object) -> None:
    await asyncio.sleep(payload.seconds)


Begin = Callable[..., Runtime]


@pytest.fixture
async def begin(redis: RedisServer, connect: Callable[[RedisServer], Connection]) -> AsyncIterator[Begin]:
    running: list[tuple[Runtime, asyncio.Task[None]]] = []

    def start(*names: str, concurrency: int = 2, cron: str | None = None, grace_s: float = 0) -> Runtime:
        kind = TaskType(name="nap", payload=Nap, decode=decoder(Nap), run=nap, max_attempts=2, cron=cron)
        settings = WorkerSettings(worker_concurrency=concurrency, shutdown_grace_s=grace_s)
        queues = [(Queue(connect(redis), name), Queue(connect(redis), name)) for name in names]
        runtime = Runtime(queues, {"nap": kind}, {}, settings)
        running.append((runtime, asyncio.create_task(runtime.run())))
        return runtime

    yield start
    for runtime, task in running:
        runtime.stop()
        await task


async def suspect(queue: Queue, redis: RedisServer) -> str:
    """A task that was there when two workers were lost."""
    await queue.pause()
    task_id = await put(queue, "nap")
    redis.cli("hset", f"{queue.prefix}task:{task_id}", "k", "2")
    redis.cli("lmove", f"{queue.prefix}ready:1", f"{queue.prefix}suspects", "left", "right")
    await queue.resume()
    return task_id


async def test_a_suspect_is_run_although_another_queue_has_a_backlog(
    live: Queue, redis: RedisServer, connect: Callable[[RedisServer], Connection], begin: Begin
) -> None:
    bulk = Queue(connect(redis), "bulk")
    backlog = [await put(bulk, "nap", seconds=0.05) for _ in range(300)]
    task_id = await suspect(live, redis)
    begin("default", "bulk")
    assert (await reached(live, task_id, Status.COMPLETED, timeout_s=4)).kills == 2
    assert (await bulk.stats()).queued > 0, "long before the backlog was done"
    await reached(bulk, backlog[-1], Status.COMPLETED)


async def test_a_token_that_reaches_a_worker_as_it_stops_is_handed_on_at_once(
    live: Queue, redis: RedisServer, begin: Begin
) -> None:
    runtime = begin("default", concurrency=2, grace_s=20)
    held = await put(live, "nap", seconds=4)
    await reached(live, held, Status.PROCESSING)
    await holds(lambda: _waiting(redis, live), "it waits for a token")
    runtime.stop()
    # Whoever the token wakes, somebody has to come: here another worker's entry among those that wait.
    other = Worker(live, "other")
    assert (await other.call(1)).next is Next.WAIT
    woken = asyncio.create_task(live.wait_for_wake(4))
    await put(live, "nap")
    assert await woken
    assert len(await other.claim()) == 1


async def _waiting(redis: RedisServer, queue: Queue) -> bool:
    return redis.cli("zcard", queue.prefix + "waiting") == "1"


async def test_periodic_tasks_go_to_the_first_of_the_queues(
    live: Queue, redis: RedisServer, connect: Callable[[RedisServer], Connection], begin: Begin
) -> None:
    bulk = Queue(connect(redis), "bulk")
    past = datetime.now(UTC) - timedelta(hours=2)
    for queue in (live, bulk):  # as if both had fired before: what was missed is made up for at once
        redis.cli("hset", queue.prefix + "periodic", "nap", str(int(past.timestamp()) * MICROSECOND))
    begin("default", "bulk", cron="0 * * * *")

    async def fired() -> bool:
        return (await live.stats()).stored == 1

    await holds(fired, "it is in the first queue", 5)
    assert (await bulk.stats()).stored == 0
