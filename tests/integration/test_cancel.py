"""Cancelling and purging tasks that a real worker holds."""

import pytest
from taskqueue.errors import TaskNotFoundError
from taskqueue.queue import Queue
from taskqueue.states import Status

from tests.fixtures.processes import RedisServer, Services, wait_until
from tests.integration.clients import holds, put, reached


def begun(services: Services, task_id: str) -> bool:
    return task_id in [i for i, _ in services.naps("begin")]


@pytest.mark.parametrize("kind", ["nap", "blocking"])
async def test_a_running_task_is_cancelled_within_about_a_second_and_its_place_goes_on(
    live: Queue, services: Services, kind: str
) -> None:
    services.worker(WORKER_CONCURRENCY="2")
    neighbour = await put(live, "nap", seconds=2.5)
    running = await put(live, kind, seconds=3600)
    wait_until(lambda: begun(services, running), 10, "begun")
    assert await live.cancel([running]) == ["cancelling"]
    task = await reached(live, running, Status.CANCELLED, timeout_s=2.5)
    assert (task.cancelling, task.history[-1].outcome) == (False, "cancelled")
    assert (await reached(live, neighbour, Status.COMPLETED)).attempts == 1
    await reached(live, await put(live, "nap"), Status.COMPLETED)


async def test_a_cancelled_task_that_fails_on_its_way_is_not_tried_again(
    live: Queue, services: Services
) -> None:
    services.worker(WORKER_CONCURRENCY="1")
    task_id = await put(live, "nap", seconds=0.3, fail="broken")
    wait_until(lambda: begun(services, task_id), 10, "begun")
    await live.cancel([task_id])
    await reached(live, task_id, Status.CANCELLED, timeout_s=3)
    assert len(services.naps("begin")) == 1


async def test_a_purged_task_stops_and_leaves_nothing(
    live: Queue, services: Services, redis: RedisServer
) -> None:
    services.worker()
    running = await put(live, "nap", seconds=3600)
    wait_until(lambda: begun(services, running), 10, "begun")
    assert await live.purge([running]) == ["purging"]

    async def gone() -> bool:
        try:
            await live.get(running)
        except TaskNotFoundError:
            return True
        return False

    await holds(gone, "the task is gone", 3)
    assert redis.cli("keys", f"*{running}*") == ""
    for key in ("cancelling", "running", "index", "cancelled", "dead"):
        assert redis.cli("exists", live.prefix + key) == "0"
    assert not services.naps("effect")
