"""The API's contract: exact fields, and a useful refusal for whatever is wrong."""

import asyncio
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fixtures.processes import RedisServer, Services, answers, wait_until
from tests.integration.clients import EMAIL, post, show

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def api(services: Services) -> str:
    return services.api()


async def refusal(http: aiohttp.ClientSession, url: str, **request: Any) -> tuple[int, dict[str, Any]]:
    method = request.pop("method", "POST")
    async with http.request(method, url, **request) as answer:
        assert answer.content_type == "application/json"
        body = await answer.json()
        assert body["error"]
        return answer.status, body


async def test_posting_a_task_answers_the_contract(http: aiohttp.ClientSession, api: str) -> None:
    async with http.post(f"{api}/tasks", json={"type": "email", "data": EMAIL}) as answer:
        body = await answer.json()
        assert answer.status == 201
        assert answer.headers["Location"] == f"/tasks/{body['task_id']}"
    assert set(body) == {"task_id", "status", "message"}
    assert (body["status"], body["message"]) == ("queued", "Task created successfully")


async def test_the_answer_is_the_same_on_a_connection_that_is_to_close(
    http: aiohttp.ClientSession, api: str
) -> None:
    seen: list[tuple[set[str], set[str]]] = []
    for connection in ("keep-alive", "close"):
        headers = {"Connection": connection}
        async with http.post(
            f"{api}/tasks", json={"type": "email", "data": EMAIL}, headers=headers
        ) as answer:
            assert (answer.status, answer.content_type) == (201, "application/json")
            assert answer.headers.get("Connection") == (None if connection == "keep-alive" else "close")
            seen.append((set(await answer.json()), set(answer.headers) - {"Connection"}))
    assert seen[0] == seen[1]


async def test_a_waiting_task_shows_what_was_sent(http: aiohttp.ClientSession, api: str) -> None:
    task_id = await post(http, api)
    task = await show(http, api, task_id)
    assert {k: task[k] for k in ("id", "type", "status", "data")} == {
        "id": task_id,
        "type": "email",
        "status": "queued",
        "data": EMAIL,
    }
    assert TIME.fullmatch(task["created_at"])
    assert "updated_at" not in task
    assert "result" not in task


async def test_the_listing_pages_newest_first_and_counts_all(http: aiohttp.ClientSession, api: str) -> None:
    ids = [await post(http, api) for _ in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        async with http.get(f"{api}/tasks?limit=3{cursor}") as answer:
            page = await answer.json()
        assert page["count"] == 7
        seen += [task["id"] for task in page["tasks"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == ids[::-1]


async def test_stats_count_what_waits(http: aiohttp.ClientSession, api: str) -> None:
    for _ in range(3):
        await post(http, api)
    async with http.get(f"{api}/queue/stats") as answer:
        stats = await answer.json()
    assert (stats["queue_length"], stats["total_tasks"], stats["queued"]) == (3, 3, 3)


async def test_many_posts_at_once_are_all_stored(http: aiohttp.ClientSession, api: str) -> None:
    ids = await asyncio.gather(*(post(http, api) for _ in range(300)))
    assert len(set(ids)) == 300
    async with http.get(f"{api}/queue/stats") as answer:
        assert (await answer.json())["queue_length"] == 300


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        ({**EMAIL, "subject": 5}, "data.subject", "expected `str`"),
        ({**EMAIL, "subject": "a\r\nBcc: b@example.com"}, "data.subject", "line breaks"),
        ({**EMAIL, "subject": " "}, "data.subject", "empty"),
        ({**EMAIL, "recipient": "nobody"}, "data.recipient", "@"),
        ({**EMAIL, "recipient": "a@example.com\nx"}, "data.recipient", "control"),
        ({**EMAIL, "content": ""}, "data.content", "empty"),
        ({**EMAIL, "content": "nul\x00"}, "data.content", "control"),
        ({**EMAIL, "colour": "red"}, "data.colour", "not a field"),
        ({"subject": "s", "content": "c"}, "data.recipient", "missing"),
        ([], "data", "object"),
    ],
)
async def test_a_payload_of_the_wrong_shape_names_the_field(
    http: aiohttp.ClientSession, api: str, data: Any, field: str, words: str
) -> None:
    status, body = await refusal(http, f"{api}/tasks", json={"type": "email", "data": data})
    assert (status, body["code"]) == (422, "invalid_task")
    (fault,) = body["fields"]
    assert fault["field"] == field
    assert words in fault["message"]


async def test_every_fault_is_named_at_once(http: aiohttp.ClientSession, api: str) -> None:
    body = {"type": "email", "data": {"subject": "\n", "recipient": "x", "content": ""}}
    _, answer = await refusal(http, f"{api}/tasks", json=body)
    assert {f["field"] for f in answer["fields"]} == {"data.subject", "data.recipient", "data.content"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([], {""}),
        ({"data": EMAIL}, {"type"}),
        ({"type": 1}, {"type", "data"}),
        ({"type": "email", "data": EMAIL, "when": 1}, {"when"}),
        ({"type": "carrier-pigeon", "data": {}}, {"type"}),
        ({"type": "email", "data": EMAIL, "delay_s": -1}, {"delay_s"}),
        ({"type": "email", "data": EMAIL, "delay_s": 31_536_001}, {"delay_s"}),
        ({"type": "email", "data": EMAIL, "delay_s": "1"}, {"delay_s"}),
        ({"type": "email", "data": EMAIL, "run_at": "2026-01-01T00:00:00"}, {"run_at"}),
        ({"type": "email", "data": EMAIL, "run_at": "9999-01-01T00:00:00Z"}, {"run_at"}),
        ({"type": "email", "data": EMAIL, "run_at": "2026-01-01T00:00:00Z", "delay_s": 1}, {"delay_s"}),
        ({"type": "email", "data": EMAIL, "priority": "urgent"}, {"priority"}),
        ({"type": "email", "data": EMAIL, "max_attempts": 0}, {"max_attempts"}),
        ({"type": "email", "data": EMAIL, "max_attempts": 101}, {"max_attempts"}),
        ({"type": "email", "data": EMAIL, "time_limit_s": 0}, {"time_limit_s"}),
        ({"type": "email", "data": EMAIL, "queue": "elsewhere"}, {"queue"}),
        ({"type": "email", "data": {}, "queue": "elsewhere", "delay_s": "x"}, {"delay_s"}),
    ],
)
async def test_an_envelope_of_the_wrong_shape_names_the_field(
    http: aiohttp.ClientSession, api: str, body: Any, fields: set[str]
) -> None:
    status, answer = await refusal(http, f"{api}/tasks", json=body)
    assert status == 422
    assert {f["field"] for f in answer["fields"]} == fields


@pytest.mark.parametrize("body", [b"{", b"", b'{"type": NaN}', b"\xff\xfe", b"[" * 100_000])
async def test_what_is_not_json_is_400(http: aiohttp.ClientSession, api: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    status, answer = await refusal(http, f"{api}/tasks", data=body, headers=headers)
    assert (status, answer["code"]) == (400, "invalid_json")


async def test_other_refusals_have_their_status(http: aiohttp.ClientSession, api: str) -> None:
    assert (await refusal(http, f"{api}/nowhere", method="GET"))[0] == 404
    assert (await refusal(http, f"{api}/tasks/none", method="GET"))[0] == 404
    missing = f"{api}/tasks/01a20d4c-cea0-770a-a353-baa9da702122"
    assert (await refusal(http, missing, method="GET"))[0] == 404
    assert (await refusal(http, f"{api}/tasks", method="PUT"))[0] == 405
    big = {"type": "email", "data": {**EMAIL, "content": "x" * 1_100_000}}
    assert (await refusal(http, f"{api}/tasks", json=big))[0] == 413
    assert (await refusal(http, f"{api}/tasks", data={"type": "email"}))[0] == 415
    for query in ("limit=0", "limit=1001", "limit=x", "cursor=x"):
        assert (await refusal(http, f"{api}/tasks?{query}", method="GET"))[0] == 422


async def test_health_tells_of_redis(http: aiohttp.ClientSession, api: str) -> None:
    async with http.get(f"{api}/health") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "healthy", "redis": "connected"})
    async with http.get(f"{api}/healthz/live") as answer:
        assert answer.status == 200


@pytest.fixture
def fragile(own_redis: RedisServer, tmp_path: Path) -> Iterator[Services]:
    started = Services(own_redis.url, tmp_path)
    yield started
    started.end()


async def test_without_redis_it_answers_503_in_time_and_recovers(
    http: aiohttp.ClientSession, fragile: Services, own_redis: RedisServer
) -> None:
    api = fragile.api()
    kept = await post(http, api)
    await asyncio.sleep(1.1)  # appendfsync everysec has written by then
    own_redis.kill()
    for path, method in (
        ("/tasks", "POST"),
        ("/tasks", "GET"),
        ("/health", "GET"),
        ("/healthz/ready", "GET"),
    ):
        began = time.monotonic()
        body = {"type": "email", "data": EMAIL} if method == "POST" else None
        async with http.request(method, api + path, json=body) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"].isdigit()
        assert time.monotonic() - began < 5, f"{method} {path} must not hang"
    async with http.get(f"{api}/healthz/live") as answer:
        assert answer.status == 200
    own_redis.start()
    assert (await show(http, api, kept))["status"] == "queued"
    await post(http, api)


async def test_a_redis_that_hangs_is_answered_with_503(
    http: aiohttp.ClientSession, fragile: Services, own_redis: RedisServer
) -> None:
    api = fragile.api(REDIS_TIMEOUT_S="0.5")
    own_redis.pause()
    began = time.monotonic()
    status, body = await refusal(http, f"{api}/tasks", json={"type": "email", "data": EMAIL})
    assert (status, body["code"]) == (503, "redis_unavailable")
    assert time.monotonic() - began < 3


async def test_near_the_memory_limit_tasks_are_refused_with_503(
    http: aiohttp.ClientSession, fragile: Services, own_redis: RedisServer
) -> None:
    api = fragile.api()
    await post(http, api)
    used = int(own_redis.cli("info", "memory").split("used_memory:")[1].split()[0])
    own_redis.cli("config", "set", "maxmemory", str(int(used * 1.05)))
    deadline = time.monotonic() + 10
    while True:
        async with http.post(f"{api}/tasks", json={"type": "email", "data": EMAIL}) as answer:
            if answer.status == 503:
                assert (await answer.json())["code"] == "queue_full"
                assert answer.headers["Retry-After"]
                break
        assert time.monotonic() < deadline


async def test_a_queue_that_is_too_long_is_429(http: aiohttp.ClientSession, services: Services) -> None:
    api = services.api(MAX_QUEUE_LENGTH="1")
    await post(http, api)
    deadline = time.monotonic() + 10
    while True:
        async with http.post(f"{api}/tasks", json={"type": "email", "data": EMAIL}) as answer:
            if answer.status == 429:
                assert answer.headers["Retry-After"]
                break
        assert time.monotonic() < deadline


async def test_sigterm_lets_the_request_under_way_finish(services: Services) -> None:
    api = services.api()
    process = services.started[-1]
    body = b'{"type":"email","data":{"subject":"s","recipient":"a@example.com","content":"c"}}'
    head = b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(api.rpartition(":")[2]))) as client:
        client.sendall(head % len(body) + body[:10])
        process.signal(signal.SIGTERM)
        wait_until(lambda: not answers(f"{api}/healthz/ready"), 5, "it says that it stops")
        client.sendall(body[10:])
        client.settimeout(10)
        assert client.recv(100).startswith(b"HTTP/1.1 201")
    assert process.wait(15) == 0


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"PORT": "http", "LOG_LEVEL": "loud"}, ["PORT", "LOG_LEVEL"]),
        ({"REDIS_URL": "redis://:secret@127.0.0.1/0"}, ["REDIS_URL", "REDIS_PASSWORD"]),
    ],
)
def test_wrong_settings_end_with_one_message_that_names_each(
    services: Services, env: dict[str, str], words: list[str]
) -> None:
    status, output = services.run_to_end("api", env)
    assert status == 2
    assert all(word in output for word in words)
    assert "secret" not in output
