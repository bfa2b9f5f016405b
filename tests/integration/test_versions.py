"""This version and 0.1.0 on one Redis: rolling upgrades, and the way back."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from taskqueue.model import Extra, Priority
from taskqueue.queue import Queue
from taskqueue.states import Status

from tests.fixtures.processes import RedisServer, Services, wait_until
from tests.fixtures.releases import HANDLERS, release_0_1_0
from tests.integration.clients import post, put, reached, until

WORKER: dict[str, str] = {
    "WORKER_HANDLERS": HANDLERS,
    "LEASE_S": "2",
    "RENEW_S": "0.5",
    "WORKER_CONCURRENCY": "4",
}
MOVE = "while redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT') do end"
"""What docs/queue.md tells to run before a way back: waiting tasks to the one list that 0.1.0 knows."""


@pytest.fixture
def old(redis: RedisServer, tmp_path: Path) -> Iterator[Services]:
    """0.1.0; its tasks log to the same file as those of `services`."""
    started = release_0_1_0(redis.url, tmp_path)
    yield started
    started.end()


async def test_both_versions_side_by_side_complete_all_in_spite_of_kills(
    http: aiohttp.ClientSession, services: Services, old: Services
) -> None:
    workers = [s.worker(**WORKER) for s in (old, services, old, services)]
    apis = [old.api(), services.api()]
    ids: list[str] = []
    for number in range(120):
        ids.append(await post(http, apis[number % 2], "nap", seconds=0.15))
        if number in (40, 80):
            workers[number // 40 - 1].signal(signal.SIGKILL)
    for number, task_id in enumerate(ids):
        await until(http, apis[(number + 1) % 2], task_id, "completed")
    killed = {worker.pid for worker in workers[:2]}
    effects = services.naps("effect")
    assert {i for i, _ in effects} == set(ids)
    # Killed between its effect and its report, a task is run again: at least once, as promised.
    first = dict(reversed(effects))
    assert [i for i, n in Counter(i for i, _ in effects).items() if n > 1 and first[i] not in killed] == []
    assert {pid for _, pid in effects} >= {worker.pid for worker in workers[2:]}, "both versions took part"


@pytest.mark.parametrize("forth", [True, False], ids=["upgrade", "roll-back"])
async def test_workers_replaced_one_by_one_lose_nothing_and_repeat_nothing(
    http: aiohttp.ClientSession, live: Queue, services: Services, old: Services, forth: bool
) -> None:
    before, after = (old, services) if forth else (services, old)
    workers = [before.worker(**WORKER) for _ in range(3)]
    api = before.api()
    ids: list[str] = []

    async def keep_posting() -> None:
        while True:
            ids.append(await post(http, api, "nap", seconds=0.2))
            await asyncio.sleep(0.02)

    posting = asyncio.create_task(keep_posting())
    for worker in workers:
        have = len(services.naps("begin"))
        await asyncio.to_thread(wait_until, lambda n=have: len(services.naps("begin")) > n + 5, 10, "busy")
        worker.signal(signal.SIGTERM)
        await asyncio.to_thread(after.worker, **WORKER)
        assert await asyncio.to_thread(worker.wait, 30) == 0
    posting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await posting
    for task_id in ids:
        assert (await reached(live, task_id, Status.COMPLETED)).attempts == 1
    count = Counter(i for i, _ in services.naps("effect"))
    assert {count[i] for i in ids} == {1}


async def test_a_task_of_a_later_form_is_put_off_and_not_failed(
    live: Queue, services: Services, redis: RedisServer
) -> None:
    await live.pause()
    task_id = await put(live, "nap", seconds=0)
    key = f"{live.prefix}task:{task_id}"
    redis.cli("hset", key, "v", "3")
    await live.resume()
    services.worker(**WORKER)
    assert (await reached(live, task_id, Status.SCHEDULED)).attempts == 0
    await reached(live, await put(live, "nap", seconds=0), Status.COMPLETED)
    redis.cli("hset", key, "v", "2")  # as if a worker that knows it came
    assert (await reached(live, task_id, Status.COMPLETED)).attempts == 1


async def test_what_0_1_0_does_not_see_waits_and_one_command_shows_it(
    live: Queue, old: Services, redis: RedisServer
) -> None:
    hidden = [
        await put(live, "nap", Extra(priority=p.level), seconds=0) for p in (Priority.HIGH, Priority.LOW)
    ]
    old.worker(**WORKER)
    await reached(
        live, await put(live, "nap", Extra(priority=1, options='{"max_attempts":1}'), seconds=0), "completed"
    )
    assert [(await live.get(i)).status for i in hidden] == ["queued"] * 2
    for level in (0, 2):
        redis.cli("eval", MOVE, "2", f"{live.prefix}ready:{level}", f"{live.prefix}ready:1")
    for task_id in hidden:
        await reached(live, task_id, Status.COMPLETED)


async def test_0_1_0_skips_what_was_cancelled_and_its_api_cannot_show_it(
    http: aiohttp.ClientSession, live: Queue, old: Services
) -> None:
    cancelled = await put(live, "nap", seconds=0)
    purged = await put(live, "nap", seconds=0)
    assert await live.cancel([cancelled]) == ["cancelled"]
    assert await live.purge([purged]) == ["purged"]
    old.worker(**WORKER)
    await reached(live, await put(live, "nap", seconds=0), Status.COMPLETED)
    assert {i for i, _ in old.naps("begin")}.isdisjoint({cancelled, purged})
    async with http.get(f"{old.api()}/tasks/{cancelled}") as answer:
        assert answer.status == 500


async def test_a_new_worker_beside_old_ones_runs_what_only_it_can_see(
    live: Queue, services: Services, old: Services
) -> None:
    old.worker(**WORKER)
    new = services.worker(**WORKER)
    high = [await put(live, "nap", Extra(priority=0), seconds=0) for _ in range(10)]
    for task_id in high:
        await reached(live, task_id, Status.COMPLETED)
    assert {pid for _, pid in services.naps("begin")} == {new.pid}
