"""What can be done to tasks that exist: cancel, retry, remove, remove all of a recipient."""

from typing import Any

import aiohttp
import pytest
from taskqueue.ids import new_id

from tests.fixtures.processes import RedisServer, Services, wait_until
from tests.integration.clients import EMAIL, eventually, post, send, show, until, until_gone


@pytest.fixture
def api(services: Services) -> str:
    return services.api(QUEUE_NAMES="default,bulk")


async def scheduled(http: aiohttp.ClientSession, api: str, **options: Any) -> str:
    body = {"type": "email", "data": EMAIL, "delay_s": 600, **options}
    return (await send(http, f"{api}/tasks", json=body))[1]["task_id"]


async def under_way(http: aiohttp.ClientSession, services: Services, api: str) -> str:
    """A nap that would take a minute and has begun."""
    services.worker()
    task_id = await post(http, api, "nap", seconds=60)
    wait_until(lambda: bool(services.naps("begin")), 20, "the nap has begun")
    return task_id


async def test_what_waits_is_cancelled_at_once(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    ids = [await post(http, api), await scheduled(http, api)]
    for task_id in ids:
        for _ in range(2):  # to ask again changes nothing
            answer = await send(http, f"{api}/tasks/{task_id}/cancel")
            assert answer == (200, {"task_id": task_id, "status": "cancelled"})
        assert (await show(http, api, task_id))["status"] == "cancelled"
    services.worker()
    await until(http, api, await post(http, api, "nap", seconds=0), "completed")
    _, stats = await send(http, f"{api}/queue/stats", method="GET")
    assert (stats["cancelled"], stats["completed"], stats["queue_length"]) == (2, 1, 0)


async def test_what_runs_is_asked_to_stop_and_then_is_cancelled(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    task_id = await under_way(http, services, api)
    status, body = await send(http, f"{api}/tasks/{task_id}/cancel")
    assert (status, body["status"]) == (202, "cancelling")
    task = await until(http, api, task_id, "cancelled")
    assert task["history"][-1]["outcome"] == "cancelled"
    assert services.naps("effect") == []


async def test_a_running_task_tells_its_worker_and_its_progress(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    task_id = await under_way(http, services, api)

    async def told() -> bool:
        task = await show(http, api, task_id)
        _, body = await send(http, f"{api}/workers", method="GET")
        (worker,) = body["workers"]
        assert (task["status"], task["worker"]) == ("processing", worker["name"])
        shown = (task.get("progress"), worker.get("tasks"), worker.get("running"))
        return shown == ({"asleep_s": 60}, [task_id], 1)

    await eventually(told, "progress and worker are told")


async def test_what_has_ended_cannot_be_cancelled(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    services.worker()
    task_id = await post(http, api, "nap", seconds=0)
    await until(http, api, task_id, "completed")
    status, body = await send(http, f"{api}/tasks/{task_id}/cancel")
    assert (status, body["code"]) == (409, "wrong_state")


async def test_a_failed_and_a_cancelled_task_are_retried_with_all_their_attempts(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    services.worker()
    failed = await post(http, api, "nap", seconds=0, fail="permanent")
    before = await until(http, api, failed, "failed")
    await send(http, f"{api}/queues/default/pause")
    cancelled = await post(http, api, "nap", seconds=0)
    await send(http, f"{api}/tasks/{cancelled}/cancel")
    for task_id in (failed, cancelled):
        answer = await send(http, f"{api}/tasks/{task_id}/retry")
        assert answer == (200, {"task_id": task_id, "status": "queued"})
        status, body = await send(http, f"{api}/tasks/{task_id}/retry")
        assert (status, body["code"]) == (409, "wrong_state")
    waiting = await show(http, api, failed)
    assert (waiting["attempts"], waiting["history"]) == (0, before["history"])
    assert "result" not in waiting
    await send(http, f"{api}/queues/default/resume")
    await until(http, api, cancelled, "completed")
    assert len((await until(http, api, failed, "failed"))["history"]) == 2


async def test_a_removed_task_leaves_nothing(
    http: aiohttp.ClientSession, api: str, redis: RedisServer
) -> None:
    ids = [await post(http, api), await scheduled(http, api), await scheduled(http, api, queue="bulk")]
    for task_id in ids:
        assert (await send(http, f"{api}/tasks/{task_id}", method="DELETE")) == (204, {})
        assert (await send(http, f"{api}/tasks/{task_id}", method="DELETE"))[0] == 404
        assert (await send(http, f"{api}/tasks/{task_id}", method="GET"))[0] == 404
    assert [key for key in redis.cli("keys", "*task:*").splitlines() if key] == []


async def test_a_removed_task_that_runs_goes_once_it_has_stopped(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    task_id = await under_way(http, services, api)
    assert (await send(http, f"{api}/tasks/{task_id}", method="DELETE"))[0] == 202
    await until_gone(http, api, task_id)
    assert services.naps("effect") == []


async def test_all_of_one_recipient_is_removed_and_nothing_else(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    services.worker()
    known = {"type": "reverse", "data": {"text": "ada@example.com"}}
    kept = [(await send(http, f"{api}/tasks", json=known))[1]["task_id"]]
    gone: list[str] = []
    for n in range(120):  # more than a page
        other = f"user{n}@example.com" if n else "Ada@example.com"  # a local part may know case
        kept.append(await post(http, api, **{**EMAIL, "recipient": other}))
        if n % 40 == 0:
            gone.append(await post(http, api, **{**EMAIL, "recipient": "ada@EXAMPLE.com"}))
    gone += [await scheduled(http, api), await scheduled(http, api, queue="bulk")]
    status, body = await send(http, f"{api}/tasks?recipient=ada@Example.com", method="DELETE")
    assert status == 200
    assert body["purged"] + body["purging"] == len(gone) == 5
    for task_id in gone:
        await until_gone(http, api, task_id)  # one that was under way goes when its worker reports
    for task_id in kept:
        await show(http, api, task_id)


async def test_one_queue_alone_can_be_searched_for_a_recipient(http: aiohttp.ClientSession, api: str) -> None:
    kept, gone = await post(http, api), await scheduled(http, api, queue="bulk")
    url = f"{api}/tasks?recipient={EMAIL['recipient']}&queue=bulk"
    assert await send(http, url, method="DELETE") == (200, {"purged": 1, "purging": 0})
    assert (await send(http, f"{api}/tasks/{gone}", method="GET"))[0] == 404
    await show(http, api, kept)


async def test_nothing_is_removed_without_a_recipient(http: aiohttp.ClientSession, api: str) -> None:
    kept = await post(http, api)
    for query in ("", "?recipient=", "?recipient=ada@example.com&queue=nowhere"):
        assert (await send(http, f"{api}/tasks{query}", method="DELETE"))[0] == 422
    await show(http, api, kept)


@pytest.mark.parametrize("queue", ["default", "bulk", "elsewhere", None])
async def test_an_id_that_is_not_here_is_404_to_every_call(
    http: aiohttp.ClientSession, api: str, queue: str | None
) -> None:
    task_id = "x" if queue is None else new_id(queue)
    for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry")):
        status, body = await send(http, f"{api}/tasks/{task_id}{rest}", method=method)
        assert (status, body["code"]) == (404, "task_not_found")
