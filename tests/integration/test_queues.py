"""Several queues in one worker; pausing; priorities; the list of workers."""

import signal
import time
from collections.abc import Callable

from taskqueue import __version__
from taskqueue.connection import Connection
from taskqueue.ids import new_id
from taskqueue.model import Extra, NewTask, Priority
from taskqueue.queue import Queue
from taskqueue.states import Status

from tests.fixtures.processes import RedisServer, Services, wait_until
from tests.integration.clients import holds, put, reached
from tests.integration.conftest import Clock
from tests.integration.test_queue import Worker

BOTH = {"QUEUE_NAMES": "default,bulk"}


def naps(queue: Queue, count: int, seconds: float = 0.02, extra: Extra | None = None) -> list[NewTask]:
    return [NewTask(new_id(queue.name), "nap", b'{"seconds":%f}' % seconds, extra) for _ in range(count)]


async def test_neither_queue_starves_under_the_backlog_of_the_other(
    live: Queue, redis: RedisServer, connect: Callable[[RedisServer], Connection], services: Services
) -> None:
    bulk = Queue(connect(redis), "bulk")
    await live.enqueue(naps(live, 200))
    await bulk.enqueue(naps(bulk, 200))
    services.worker(WORKER_CONCURRENCY="4", **BOTH)
    most = 0

    async def half() -> bool:
        nonlocal most
        here, there = await live.stats(), await bulk.stats()
        most = max(most, here.processing + there.processing)
        return here.completed + there.completed >= 200

    await holds(half, "half is done")
    shares = [(await live.stats()).completed, (await bulk.stats()).completed]
    assert min(shares) > 50, shares
    assert most <= 8, "the places are shared: four run, and four more may just have ended"
    late = await put(bulk, "nap")
    await reached(bulk, late, Status.COMPLETED)


async def test_a_second_idle_queue_costs_at_most_two_calls_a_second(
    services: Services, redis: RedisServer
) -> None:
    services.worker(**BOTH)

    def calls() -> int:
        names = ("cmdstat_evalsha:", "cmdstat_blpop:", "cmdstat_eval:")
        lines = redis.cli("info", "commandstats").splitlines()
        return sum(int(x.split("calls=")[1].split(",")[0]) for x in lines if x.startswith(names))

    before, began = calls(), time.monotonic()
    wait_until(lambda: time.monotonic() - began > 6, 10, "an idle while")
    assert (calls() - before) / (time.monotonic() - began) / 2 <= 2


async def test_a_task_in_either_queue_wakes_an_idle_worker_at_once(
    live: Queue, redis: RedisServer, connect: Callable[[RedisServer], Connection], services: Services
) -> None:
    bulk = Queue(connect(redis), "bulk")
    services.worker(**BOTH)
    await holds(lambda: _idle(redis, "bulk"), "it waits for tokens")
    for queue in (live, bulk):
        began = time.monotonic()
        await reached(queue, await put(queue, "nap"), Status.COMPLETED)
        assert time.monotonic() - began < 0.5


async def _idle(redis: RedisServer, name: str) -> bool:
    return redis.cli("zcard", f"tq:{{{name}}}:waiting") == "1"


async def test_a_paused_queue_settles_and_claims_nothing_until_it_goes_on(
    live: Queue, services: Services
) -> None:
    services.worker()
    running = await put(live, "nap", seconds=0.5)
    wait_until(lambda: len(services.naps("begin")) == 1, 10, "begun")
    assert await live.pause()
    waiting = [await put(live, "nap") for _ in range(3)]
    await reached(live, running, Status.COMPLETED)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 1.5, 5, "a reap tick")
    assert (await live.stats()).queued == 3
    assert await live.resume()
    began = time.monotonic()
    for task_id in waiting:
        await reached(live, task_id, Status.COMPLETED)
    assert time.monotonic() - began < 1


async def test_a_high_priority_overtakes_a_backlog_and_a_low_one_waits(
    live: Queue, services: Services
) -> None:
    low = naps(live, 1, extra=Extra(priority=Priority.LOW.level))
    normal = naps(live, 60)
    high = naps(live, 1, extra=Extra(priority=Priority.HIGH.level))
    await live.enqueue([*low, *normal, *high])
    services.worker(WORKER_CONCURRENCY="1")
    await reached(live, low[0].id, Status.COMPLETED)
    order = [task_id for task_id, _ in services.naps("begin")]
    assert order[0] == high[0].id
    assert order[-1] == low[0].id


async def test_workers_are_listed_with_what_they_run_until_they_end(
    live: Queue, services: Services, redis: RedisServer
) -> None:
    worker = services.worker(POD_NAME="pod a", NODE_NAME="node-1", WORKER_CONCURRENCY="3")
    other = services.worker(SHUTDOWN_GRACE_S="0")
    task_id = await put(live, "nap", seconds=3600)

    async def shown() -> bool:
        return any(task_id in record.about["tasks"] for record in await live.workers())

    assert await holds(shown, "the task is shown", 5) < 2
    first, second = sorted(await live.workers(), key=lambda r: r.about["pod"] != "pod a")
    if task_id in second.about["tasks"]:
        assert first.about["tasks"] == []
    assert (first.about["pod"], first.about["node"]) == ("pod a", "node-1")
    assert (first.about["version"], first.about["concurrency"]) == (__version__, 3)
    assert first.name.startswith("pod-a-")
    assert first.about["queues"] == ["default"]
    now = int(redis.cli("time").splitlines()[0])
    assert now - first.seen_us / 1_000_000 < 3
    other.signal(signal.SIGTERM)
    other.wait(10)
    assert [record.about["pod"] for record in await live.workers()] == ["pod a"]
    assert worker.running()


async def test_a_worker_that_died_is_listed_for_a_minute(queue: Queue, clock: Clock) -> None:
    await Worker(queue, "dead").reap()
    living = Worker(queue, "living")
    clock.pass_s(59)
    await living.reap()
    assert [record.name for record in await queue.workers()] == ["dead", "living"]
    clock.pass_s(2)
    await living.reap()
    assert [record.name for record in await queue.workers()] == ["living"]
