"""`durability: fsync`: a POST that is answered only when the task is on disk."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fixtures.processes import RedisServer, Services
from tests.integration.clients import EMAIL

BODY = {"type": "email", "data": EMAIL, "durability": "fsync"}


@pytest.fixture
def modern(redis8: RedisServer, tmp_path: Path) -> Iterator[Services]:
    """Services on a Redis that offers WAITAOF."""
    redis8.cli("flushall")
    started = Services(redis8.url, tmp_path)
    yield started
    started.end()
    redis8.cli("config", "set", "appendfsync", "everysec")


async def sent(
    http: aiohttp.ClientSession, api: str, body: dict[str, Any], path: str = ""
) -> tuple[int, Any]:
    async with http.post(f"{api}/tasks{path}", json=body) as answer:
        return answer.status, await answer.json()


async def test_it_is_answered_once_redis_has_synced(
    http: aiohttp.ClientSession, modern: Services, redis8: RedisServer
) -> None:
    api = modern.api()
    redis8.cli("config", "set", "appendfsync", "always")
    assert (await sent(http, api, BODY))[0] == 201
    redis8.cli("config", "set", "appendfsync", "everysec")
    assert (await sent(http, api, BODY))[0] == 201
    redis8.cli("config", "set", "appendfsync", "no")  # it is never synced
    status, answer = await sent(http, api, BODY)
    assert (status, answer["code"]) == (503, "redis_unavailable")
    assert (await sent(http, api, {"type": "email", "data": EMAIL}))[0] == 201, "others do not wait"


async def test_a_repeat_that_stores_nothing_waits_as_well(
    http: aiohttp.ClientSession, modern: Services, redis8: RedisServer
) -> None:
    api = modern.api()
    redis8.cli("config", "set", "appendfsync", "no")
    headers = {"Idempotency-Key": "once"}
    for _ in range(2):
        async with http.post(f"{api}/tasks", json=BODY, headers=headers) as answer:
            assert answer.status == 503


async def test_those_that_come_together_share_an_fsync(http: aiohttp.ClientSession, modern: Services) -> None:
    api = modern.api(DURABILITY="fsync")
    plain = {"type": "email", "data": EMAIL}
    await sent(http, api, plain)
    began = time.monotonic()
    answers = await asyncio.gather(*(sent(http, api, plain) for _ in range(50)))
    assert [status for status, _ in answers] == [201] * 50
    assert time.monotonic() - began < 20, "fifty one after the other would take at least 25 s"


async def test_a_batch_may_hold_both(http: aiohttp.ClientSession, modern: Services) -> None:
    api = modern.api()
    status, answer = await sent(http, api, {"tasks": [BODY, {"type": "email", "data": EMAIL}]}, "/batch")
    assert (status, answer["accepted"]) == (200, 2)


async def test_where_redis_cannot_tell_it_is_refused(http: aiohttp.ClientSession, services: Services) -> None:
    status, answer = await sent(http, services.api(), BODY)
    assert (status, answer["fields"][0]["field"]) == (422, "durability")
    ended, said = services.run_to_end("api", {"DURABILITY": "fsync"})
    assert ended == 2
    assert "DURABILITY" in said
