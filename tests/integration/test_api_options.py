"""What a POST may say of a task beside its payload: when, how urgent, how often, where, and only once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from tests.fixtures.processes import RedisServer, Services
from tests.integration.clients import EMAIL, send, show, until


@pytest.fixture
def api(services: Services) -> str:
    return services.api()


def email(**options: Any) -> dict[str, Any]:
    return {"type": "email", "data": EMAIL, **options}


def nap(fail: str = "", **options: Any) -> dict[str, Any]:
    return {"type": "nap", "data": {"seconds": 0, "fail": fail}, **options}


async def test_a_task_put_off_is_scheduled_and_shows_until_when(
    http: aiohttp.ClientSession, api: str
) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    status, body = await send(http, f"{api}/tasks", json=email(run_at=due.isoformat()))
    assert (status, body["status"]) == (201, "scheduled")
    task = await show(http, api, body["task_id"])
    assert task["status"] == "scheduled"
    assert datetime.fromisoformat(task["run_at"]) == due


async def test_a_zone_other_than_utc_is_understood(http: aiohttp.ClientSession, api: str) -> None:
    due = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    there = (due + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M:%S+05:30")
    _, body = await send(http, f"{api}/tasks", json=email(run_at=there))
    assert datetime.fromisoformat((await show(http, api, body["task_id"]))["run_at"]) == due


@pytest.mark.parametrize("when", [{"run_at": "2026-01-01T00:00:00Z"}, {"delay_s": 0}, {"delay_s": None}])
async def test_a_time_that_has_come_queues_the_task_at_once(
    http: aiohttp.ClientSession, api: str, when: dict[str, Any]
) -> None:
    _, body = await send(http, f"{api}/tasks", json=email(**when))
    assert body["status"] == "queued"
    assert (await show(http, api, body["task_id"]))["status"] == "queued"


async def test_a_delayed_task_runs_once_its_delay_is_over(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    services.worker()
    _, body = await send(http, f"{api}/tasks", json=nap(delay_s=1.5))
    assert body["status"] == "scheduled"
    task = await until(http, api, body["task_id"], "completed")
    created, ended = (datetime.fromisoformat(task[name]) for name in ("created_at", "updated_at"))
    assert timedelta(seconds=1.5) <= ended - created < timedelta(seconds=6)
    assert "run_at" not in task


async def test_the_urgent_run_first_and_the_least_urgent_last(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    services.worker()  # makes the type known
    await send(http, f"{api}/queues/default/pause")
    ids = {
        priority: (await send(http, f"{api}/tasks", json=nap(priority=priority)))[1]["task_id"]
        for priority in ("low", "normal", "high")
    }
    assert (await show(http, api, ids["high"]))["priority"] == "high"
    assert "priority" not in await show(http, api, ids["normal"])
    services.started[-1].end()
    services.worker(WORKER_CONCURRENCY="1")
    await send(http, f"{api}/queues/default/resume")
    await until(http, api, ids["low"], "completed")
    begun = [task_id for task_id, _ in services.naps("begin")]
    assert begun == [ids["high"], ids["normal"], ids["low"]]


async def test_a_task_may_have_its_own_number_of_attempts_and_its_history_tells_of_each(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    services.worker()
    _, once = await send(http, f"{api}/tasks", json=nap("at once", max_attempts=1))
    _, twice = await send(http, f"{api}/tasks", json=nap("twice", max_attempts=2))
    task = await until(http, api, once["task_id"], "failed")
    assert [attempt["outcome"] for attempt in task["history"]] == ["failed"]
    task = await until(http, api, twice["task_id"], "failed")
    assert [(a["attempt"], a["outcome"], a["reason"]["error"]) for a in task["history"]] == [
        (1, "scheduled", "twice"),
        (2, "failed", "twice"),
    ]
    for attempt in task["history"]:
        assert attempt["began_at"] <= attempt["ended_at"]
        assert attempt["worker"] == task["worker"]


async def test_a_task_may_have_its_own_time_limit(
    http: aiohttp.ClientSession, services: Services, api: str
) -> None:
    services.worker()
    slow = {"type": "nap", "data": {"seconds": 30}, "time_limit_s": 0.5, "max_attempts": 1}
    _, body = await send(http, f"{api}/tasks", json=slow)
    task = await until(http, api, body["task_id"], "failed")
    assert "time limit" in task["result"]["error"]


async def test_the_same_key_and_body_give_the_same_task(http: aiohttp.ClientSession, api: str) -> None:
    headers = {"Idempotency-Key": "order 17"}
    ids: set[str] = set()
    for n in range(3):
        async with http.post(f"{api}/tasks", json=email(), headers=headers) as answer:
            assert answer.status == 201
            assert answer.headers.get("Idempotent-Replayed") == (None if n == 0 else "true")
            body = await answer.json()
            assert answer.headers["Location"] == f"/tasks/{body['task_id']}"
            ids.add(body["task_id"])
    assert len(ids) == 1
    _, stats = await send(http, f"{api}/queue/stats", method="GET")
    assert stats["total_tasks"] == 1


async def test_the_same_key_at_once_from_many_makes_one_task(http: aiohttp.ClientSession, api: str) -> None:
    headers = {"Idempotency-Key": "at once"}
    answers = await asyncio.gather(
        *(send(http, f"{api}/tasks", json=email(), headers=headers) for _ in range(40))
    )
    assert {status for status, _ in answers} == {201}
    assert len({body["task_id"] for _, body in answers}) == 1


async def test_the_same_key_with_another_body_is_refused_and_stores_nothing(
    http: aiohttp.ClientSession, api: str
) -> None:
    headers = {"Idempotency-Key": "k"}
    await send(http, f"{api}/tasks", json=email(), headers=headers)
    status, body = await send(http, f"{api}/tasks", json=email(priority="high"), headers=headers)
    assert (status, body["code"]) == (409, "idempotency_conflict")
    _, stats = await send(http, f"{api}/queue/stats", method="GET")
    assert stats["total_tasks"] == 1


async def test_white_space_and_the_order_of_fields_make_no_other_body(
    http: aiohttp.ClientSession, api: str
) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    one = b'{"type":"email","data":{"subject":"s","recipient":"a@example.com","content":"c"}}'
    other = b'{ "data":{"content":"c","recipient":"a@example.com", "subject":"s"}, "type":"email"}'
    first, second = [(await send(http, f"{api}/tasks", data=d, headers=headers))[1] for d in (one, other)]
    assert first["task_id"] == second["task_id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "ü", "a\tb"])
async def test_what_is_no_key_is_refused(http: aiohttp.ClientSession, api: str, key: str) -> None:
    status, body = await send(http, f"{api}/tasks", json=email(), headers={"Idempotency-Key": key})
    assert (status, body["fields"][0]["field"]) == (422, "Idempotency-Key")


async def test_neither_key_nor_body_is_kept_in_clear(
    http: aiohttp.ClientSession, api: str, redis: RedisServer
) -> None:
    await send(http, f"{api}/tasks", json=email(), headers={"Idempotency-Key": "canary"})
    (key,) = [name for name in redis.cli("keys", "*").splitlines() if "idem:" in name]
    assert "canary" not in key
    assert EMAIL["recipient"] not in redis.cli("get", key)
    assert 86_000_000 < int(redis.cli("pttl", key)) <= 86_400_000
