"""POST /tasks/batch: a result for each task, in order; one at fault says nothing of the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fixtures.processes import RedisServer, Services
from tests.integration.clients import EMAIL, eventually, send, show


@pytest.fixture
def api(services: Services) -> str:
    return services.api(QUEUE_NAMES="default,bulk")


def email(**options: Any) -> dict[str, Any]:
    return {"type": "email", "data": EMAIL, **options}


async def test_a_batch_of_a_thousand_is_stored_in_its_order(http: aiohttp.ClientSession, api: str) -> None:
    tasks = [email() for _ in range(1000)]
    status, body = await send(http, f"{api}/tasks/batch", json={"tasks": tasks})
    assert (status, body["accepted"], body["refused"]) == (200, 1000, 0)
    ids = [result["task_id"] for result in body["results"]]
    assert {result["status"] for result in body["results"]} == {"queued"}
    _, page = await send(http, f"{api}/tasks?limit=1000", method="GET")
    assert [task["id"] for task in page["tasks"]] == ids[::-1]


async def test_each_item_has_its_own_result(http: aiohttp.ClientSession, api: str) -> None:
    items: list[Any] = [
        email(),
        {"type": "email", "data": {"subject": "s"}},
        email(delay_s=60, queue="bulk"),
        7,
        email(queue="nowhere"),
        email(idempotency_key="k"),
        email(idempotency_key="k"),
        email(idempotency_key="k", priority="high"),
        email(idempotency_key="ü"),
        {"type": "carrier-pigeon", "data": {}},
    ]
    status, body = await send(http, f"{api}/tasks/batch", json={"tasks": items})
    assert (status, body["accepted"], body["refused"]) == (200, 4, 6)
    results = body["results"]
    assert [result.get("status", result.get("code")) for result in results] == [
        "queued",
        "invalid_task",
        "scheduled",
        "invalid_task",
        "invalid_task",
        "queued",
        "queued",
        "idempotency_conflict",
        "invalid_task",
        "invalid_task",
    ]
    assert {f["field"] for f in results[1]["fields"]} == {"data.recipient", "data.content"}
    assert results[2]["task_id"].startswith("bulk.")
    assert [f["field"] for f in results[8]["fields"]] == ["idempotency_key"]
    assert results[5]["task_id"] == results[6]["task_id"]
    assert (results[6]["replayed"], "replayed" in results[5]) == (True, False)
    for result in results:
        if "task_id" in result:
            assert (await show(http, api, result["task_id"]))["status"] == result["status"]


async def test_a_key_is_the_same_in_a_batch_and_alone(http: aiohttp.ClientSession, api: str) -> None:
    headers = {"Idempotency-Key": "k"}
    _, alone = await send(http, f"{api}/tasks", json=email(), headers=headers)
    _, body = await send(http, f"{api}/tasks/batch", json={"tasks": [email(idempotency_key="k")]})
    assert body["results"] == [{"task_id": alone["task_id"], "status": "queued", "replayed": True}]


_MISSHAPEN: list[tuple[Any, str]] = [
    ({"tasks": []}, "tasks"),
    ({"tasks": [{}] * 1001}, "tasks"),
    ({"tasks": {}}, "tasks"),
    ({}, "tasks"),
    ({"tasks": [], "x": 1}, "x"),
]


@pytest.mark.parametrize(("body", "field"), _MISSHAPEN)
async def test_a_batch_of_the_wrong_shape_is_refused_whole(
    http: aiohttp.ClientSession, api: str, body: Any, field: str
) -> None:
    status, answer = await send(http, f"{api}/tasks/batch", json=body)
    assert (status, field in {f["field"] for f in answer["fields"]}) == (422, True)


async def test_a_batch_may_be_larger_than_one_task_but_not_than_its_limit(
    http: aiohttp.ClientSession, services: Services
) -> None:
    api = services.api(MAX_BATCH_BYTES="3000000")
    large = email() | {"data": {**EMAIL, "content": "x" * 500_000}}
    status, body = await send(http, f"{api}/tasks/batch", json={"tasks": [large] * 4})
    assert (status, body["accepted"]) == (200, 4)
    status, body = await send(http, f"{api}/tasks/batch", json={"tasks": [large] * 7})
    assert (status, bool(body["error"])) == (413, True)
    status, body = await send(http, f"{api}/tasks/batch", data=b"{", headers={"Content-Type": "text/plain"})
    assert (status, bool(body["error"])) == (415, True)


@pytest.fixture
def fragile(own_redis: RedisServer, tmp_path: Path) -> Iterator[Services]:
    started = Services(own_redis.url, tmp_path)
    yield started
    started.end()


async def test_without_redis_the_whole_batch_is_503(
    http: aiohttp.ClientSession, fragile: Services, own_redis: RedisServer
) -> None:
    api = fragile.api(REDIS_TIMEOUT_S="0.5")
    own_redis.kill()
    status, body = await send(http, f"{api}/tasks/batch", json={"tasks": [email()] * 1000})
    assert (status, body["code"]) == (503, "redis_unavailable")


async def test_a_queue_that_is_too_long_refuses_its_items_only(
    http: aiohttp.ClientSession, services: Services
) -> None:
    api = services.api(QUEUE_NAMES="default,bulk", MAX_QUEUE_LENGTH="1")
    await send(http, f"{api}/tasks", json=email(queue="bulk"))
    both = {"tasks": [email(queue="bulk"), email(delay_s=60)]}

    async def refused() -> bool:
        status, body = await send(http, f"{api}/tasks/batch", json=both)
        assert (status, "task_id" in body["results"][1]) == (200, True)
        return body["results"][0].get("code") == "queue_too_long"

    await eventually(refused, "the sample was taken")
    status, body = await send(http, f"{api}/tasks/batch", json={"tasks": [email(queue="bulk")]})
    assert (status, body["code"]) == (429, "queue_too_long")
