"""Several queues, paused and let go; who works; dead letters and how they are queued again."""

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from tests.fixtures.processes import Services, wait_until
from tests.integration.clients import EMAIL, eventually, post, send, show, until

BOTH = "default,bulk"


@pytest.fixture
def api(services: Services) -> str:
    return services.api(QUEUE_NAMES=BOTH)


async def get(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    status, body = await send(http, url, method="GET")
    assert status == 200, body
    return body


async def nap(http: aiohttp.ClientSession, api: str, fail: str = "", **options: Any) -> str:
    body = {"type": "nap", "data": {"seconds": 0, "fail": fail}, **options}
    status, answer = await send(http, f"{api}/tasks", json=body)
    assert status == 201, answer
    return answer["task_id"]


async def test_each_queue_has_its_own_tasks_and_its_worker_serves_both(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    services.worker(QUEUE_NAMES=BOTH)
    first, second = await nap(http, api), await nap(http, api, queue="bulk")
    assert second.startswith("bulk.")
    for task_id, queue in ((first, "default"), (second, "bulk")):
        task = await until(http, api, task_id, "completed")
        assert task["queue"] == queue
        listed = await get(http, f"{api}/tasks?queue={queue}")
        assert [task["id"] for task in listed["tasks"]] == [task_id]
        assert (await get(http, f"{api}/queues/{queue}/stats"))["completed"] == 1
        assert (await get(http, f"{api}/queue/stats?queue={queue}"))["completed"] == 1


async def test_a_queue_that_is_not_served_is_not_found(http: aiohttp.ClientSession, api: str) -> None:
    for method, path in (("GET", "stats"), ("POST", "pause"), ("POST", "resume")):
        status, body = await send(http, f"{api}/queues/nowhere/{path}", method=method)
        assert (status, body["code"]) == (404, "queue_not_found")
    for path in ("tasks", "queue/stats", "dead-letters"):
        status, body = await send(http, f"{api}/{path}?queue=nowhere", method="GET")
        assert (status, body["fields"][0]["field"]) == (422, "queue")
    cursor = await post(http, api)
    assert (await send(http, f"{api}/tasks?queue=bulk&cursor={cursor}", method="GET"))[0] == 422


async def test_a_paused_queue_accepts_and_begins_nothing_while_the_other_goes_on(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    services.worker(QUEUE_NAMES=BOTH)
    paused = f"{api}/queues/bulk"
    answer = await send(http, f"{paused}/pause")
    assert answer == (200, {"queue": "bulk", "paused": True, "changed": True})
    assert (await send(http, f"{paused}/pause"))[1]["changed"] is False
    waits = await nap(http, api, queue="bulk")
    await until(http, api, await nap(http, api), "completed")
    queues = {queue["name"]: queue for queue in (await get(http, f"{api}/queues"))["queues"]}
    assert [(q["paused"], q["queue_length"]) for q in (queues["default"], queues["bulk"])] == [
        (False, 0),
        (True, 1),
    ]
    assert (await show(http, api, waits))["status"] == "queued"
    answer = await send(http, f"{paused}/resume")
    assert answer == (200, {"queue": "bulk", "paused": False, "changed": True})
    await until(http, api, waits, "completed")


async def test_workers_tell_where_they_run_and_what_they_serve(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    services.worker(QUEUE_NAMES=BOTH, POD_NAME="pod-1", NODE_NAME="node-1", WORKER_CONCURRENCY="7")

    async def told() -> bool:
        (worker,) = (await get(http, f"{api}/workers"))["workers"]
        return "pod" in worker

    await eventually(told, "it tells of itself")
    (worker,) = (await get(http, f"{api}/workers"))["workers"]
    assert worker["name"].startswith("pod-1-")
    assert (worker["pod"], worker["node"], worker["concurrency"]) == ("pod-1", "node-1", 7)
    assert worker["queues"] == ["bulk", "default"]
    assert {"email", "nap", "reverse"} <= set(worker["types"])
    assert worker["version"]
    for name in ("started_at", "last_heartbeat"):
        assert worker[name].endswith("Z")
        assert abs(datetime.now(UTC) - datetime.fromisoformat(worker[name])) < timedelta(seconds=20)


async def test_a_worker_that_left_is_listed_no_more(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    process = services.worker()
    assert (await get(http, f"{api}/workers"))["count"] == 1
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert await get(http, f"{api}/workers") == {"workers": [], "count": 0}


async def dead(http: aiohttp.ClientSession, services: Services, api: str, count: int) -> list[str]:
    """Naps that failed for good, in the order in which they did."""
    services.worker(WORKER_CONCURRENCY="1")
    ids = [await nap(http, api, "permanent") for _ in range(count)]
    for task_id in ids:
        await until(http, api, task_id, "failed")
    return ids


async def test_dead_letters_are_listed_by_pages_with_their_reasons(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    ids = await dead(http, services, api, 5)
    seen: list[str] = []
    cursor = ""
    while True:
        page = await get(http, f"{api}/dead-letters?limit=2{cursor}")
        assert page["count"] == 5
        for task in page["tasks"]:
            assert task["history"][-1]["reason"]["error"] == "told to"
            seen.append(task["id"])
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == ids
    assert (await get(http, f"{api}/dead-letters?queue=bulk"))["tasks"] == []
    assert (await send(http, f"{api}/dead-letters?cursor=x", method="GET"))[0] == 422


async def test_a_page_goes_on_after_a_dead_letter_that_is_there_no_more(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    ids = await dead(http, services, api, 4)
    page = await get(http, f"{api}/dead-letters?limit=2")
    await send(http, f"{api}/tasks/{ids[1]}", method="DELETE")
    rest = await get(http, f"{api}/dead-letters?limit=2&cursor={page['next']}")
    assert [task["id"] for task in rest["tasks"]] == ids[2:]


async def test_a_redrive_queues_the_oldest_dead_letters_up_to_its_limit(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    ids = await dead(http, services, api, 3)
    await send(http, f"{api}/queues/default/pause")
    assert await send(http, f"{api}/dead-letters/redrive", json={"limit": 2}) == (200, {"redriven": 2})
    assert [(await show(http, api, i))["status"] for i in ids] == ["queued", "queued", "failed"]
    assert await send(http, f"{api}/dead-letters/redrive", json={"type": "email"}) == (200, {"redriven": 0})
    answer = await send(http, f"{api}/dead-letters/redrive", json={"type": "nap", "queue": "default"})
    assert answer == (200, {"redriven": 1})
    assert (await get(http, f"{api}/queue/stats"))["failed"] == 0


async def test_a_redrive_takes_none_twice_that_fails_again_meanwhile(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    ids = await dead(http, services, api, 30)
    services.worker()  # they fail again while the redrive goes on
    assert await send(http, f"{api}/dead-letters/redrive") == (200, {"redriven": 30})
    for task_id in ids:
        assert len((await until(http, api, task_id, "failed"))["history"]) == 2


@pytest.mark.parametrize("body", [{"limit": 0}, {"limit": "1"}, {"kind": "nap"}, {"queue": "nowhere"}, []])
async def test_a_redrive_of_the_wrong_shape_is_refused(
    http: aiohttp.ClientSession, api: str, body: Any
) -> None:
    assert (await send(http, f"{api}/dead-letters/redrive", json=body))[0] == 422


async def test_a_task_whose_workers_were_lost_tells_how_often(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    short = {"LEASE_S": "1", "RENEW_S": "0.3"}
    killer = services.worker(**short)
    task_id = await post(http, api, "nap", seconds=2)
    wait_until(lambda: bool(services.naps("begin")), 20, "begun")
    killer.end()
    services.worker(**short)
    task = await until(http, api, task_id, "completed")
    assert (task["kills"], task["attempts"]) == (1, 2)
    assert [attempt["outcome"] for attempt in task["history"]] == ["lost"]


async def test_email_to_another_queue_is_checked_all_the_same(http: aiohttp.ClientSession, api: str) -> None:
    body = {"type": "email", "data": {**EMAIL, "recipient": "x"}, "queue": "bulk"}
    assert (await send(http, f"{api}/tasks", json=body))[0] == 422
