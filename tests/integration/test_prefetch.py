"""Claiming ahead of free places: only what begins at once, and nothing is kept from others for long."""

import signal
import time

import pytest
from taskqueue.ids import new_id
from taskqueue.model import NewTask
from taskqueue.queue import Queue
from taskqueue.states import Status

from tests.fixtures.processes import Process, RedisServer, Services, wait_until
from tests.integration.clients import holds, put, reached

FAST = {"WORKER_HANDLERS": "tests.fixtures.handlers"}
LONG = b'{"seconds":3600}'


async def eager(live: Queue, services: Services, **env: str) -> Process:
    """A worker of two places that has learnt that its tasks take no time."""
    worker = services.worker(WORKER_CONCURRENCY="2", **FAST, **env)
    quick = [NewTask(new_id(), "reverse", b'{"text":"abc"}') for _ in range(400)]
    await live.enqueue(quick)

    async def done() -> bool:
        return (await live.stats()).completed >= len(quick)

    await holds(done, "fast tasks done")
    return worker


async def long_ones(live: Queue, count: int) -> list[str]:
    """Added in one call, so that one claim finds them all."""
    made = [NewTask(new_id(), "nap", LONG) for _ in range(count)]
    await live.enqueue(made)
    return [task.id for task in made]


async def in_flight(live: Queue, count: int) -> None:
    async def so_many() -> bool:
        return (await live.stats()).processing == count

    await holds(so_many, f"{count} in flight")


async def test_a_backlog_behind_long_tasks_is_handed_back_and_others_take_it(
    live: Queue, services: Services
) -> None:
    first = await eager(live, services)
    ids = await long_ones(live, 8)
    wait_until(lambda: len(services.naps("begin")) == 2, 5, "both places are taken")
    assert (await live.stats()).processing > 2, "it had claimed ahead"
    handed_back = await holds(lambda: _is(live, 2), "the backlog is in Redis again", 2)
    assert handed_back < 0.9
    assert {(await live.get(i)).attempts for i in ids[2:]} == {0}
    services.worker(WORKER_CONCURRENCY="6", **FAST)
    wait_until(lambda: len(services.naps("begin")) == 8, 5, "others took it")
    assert len({i for i, _ in services.naps("begin")}) == 8
    assert sum(pid == first.pid for _, pid in services.naps("begin")) == 2


async def _is(live: Queue, processing: int) -> bool:
    return (await live.stats()).processing == processing


async def test_what_a_stopping_worker_had_not_begun_is_taken_up_within_a_second(
    live: Queue, services: Services
) -> None:
    first = await eager(live, services, SHUTDOWN_GRACE_S="20")
    ids = await long_ones(live, 8)
    wait_until(lambda: len(services.naps("begin")) == 2, 5, "both places are taken")
    first.signal(signal.SIGTERM)
    other = services.worker(WORKER_CONCURRENCY="8", **FAST)

    def taken() -> int:
        return len({i for i, pid in services.naps("begin") if pid == other.pid})

    assert wait_until(lambda: taken() == 6, 5, "taken up elsewhere") < 1
    assert first.running(), "what it had begun goes on in its grace period"
    assert len({i for i, _ in services.naps("begin")}) == len(ids)


async def test_a_worker_that_serves_a_type_without_prefetch_holds_no_more_than_it_runs(
    live: Queue, services: Services
) -> None:
    services.worker(WORKER_CONCURRENCY="2")
    made = [NewTask(new_id(), "nap", b'{"seconds":0.005}') for _ in range(150)]
    await live.enqueue(made)
    most = 0
    while (stats := await live.stats()).completed < len(made):
        most = max(most, stats.processing)
    # Two run, and two more may just have ended, and ride on the next claim.
    assert 0 < most <= 4


@pytest.mark.parametrize("fast", [True, False])
async def test_a_worker_frozen_with_a_backlog_begins_none_of_it_after_its_lease(
    live: Queue, services: Services, redis: RedisServer, fast: bool
) -> None:
    short = {"LEASE_S": "1", "RENEW_S": "0.3"}
    frozen = await eager(live, services, **short) if fast else services.worker(**short)
    made = [NewTask(new_id(), "nap", b'{"seconds":0.2}') for _ in range(12)]
    await live.enqueue(made)
    wait_until(lambda: len(services.naps("begin")) >= 2, 5, "begun")
    frozen.signal(signal.SIGSTOP)
    assert not fast or (await live.stats()).processing > 2, "it holds a backlog"
    before = {i for i, pid in services.naps("begin") if pid == frozen.pid}
    services.worker(WORKER_CONCURRENCY="4", **FAST, **short)
    for task in made:
        await reached(live, task.id, Status.COMPLETED)
    frozen.signal(signal.SIGCONT)
    thawed = time.monotonic()
    marker = [await put(live, "nap", seconds=0.3) for _ in range(12)]
    for task_id in marker:
        await reached(live, task_id, Status.COMPLETED)
    wait_until(lambda: time.monotonic() - thawed > 2, 5, "two leases more")
    old = {task.id for task in made}
    after = {i for i, pid in services.naps("begin") if pid == frozen.pid} & old
    assert after == before & old, "nothing of what it held was begun after the thaw"
    effects = [i for i, _ in services.naps("effect")]
    assert sorted(effects) == sorted([*old, *marker]), "each has had its effect once"
    assert frozen.running()
