"""A real Redis a session, emptied for each test; services as processes; a check that no key leaks."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from taskqueue.connection import Connection
from taskqueue.queue import Queue
from taskqueue.settings import RedisSettings

from infra.local.failures import ClusterError
from tests.fixtures.processes import RedisServer, Services
from tests.fixtures.redis_forms import redis8_command
from tests.fixtures.smtp import MailServer
from tests.integration.drain import leaked_keys

Connect = Callable[[RedisServer], Connection]


class Clock:
    """Microseconds since 1970, moved by the test."""

    def __init__(self) -> None:
        self.now_us = 1_800_000_000_000_000

    def __call__(self) -> int:
        return self.now_us

    def pass_s(self, seconds: float) -> None:
        self.now_us += int(seconds * 1_000_000)


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def redis(shared_redis: RedisServer) -> Iterator[RedisServer]:
    """Empty; when all that used it has ended, no key may be left once its queues are drained."""
    shared_redis.cli("flushall")
    shared_redis.cli("script", "flush")
    yield shared_redis
    check_no_key_leaks(shared_redis)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One that the test may stop, kill and restart. No key may leak, as above, if it still runs."""
    server = RedisServer(tmp_path / "redis")
    yield server
    server.signal(signal.SIGCONT)
    if server.cli("ping") == "PONG":
        check_no_key_leaks(server)
    server.kill()


def check_no_key_leaks(server: RedisServer) -> None:
    """On a loop of its own: the test's has ended, or is not running."""
    loop = asyncio.new_event_loop()
    connection = Connection(RedisSettings(redis_url=server.url, redis_timeout_s=10))
    try:
        assert loop.run_until_complete(leaked_keys(connection)) == [], "keys are left of drained queues"
    finally:
        loop.run_until_complete(connection.close())
        loop.close()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[RedisServer], Connection]]:
    opened: list[Connection] = []

    def open_to(server: RedisServer) -> Connection:
        settings = RedisSettings(redis_url=server.url, redis_timeout_s=5)
        opened.append(Connection(settings))
        return opened[-1]

    yield open_to
    for connection in opened:
        await connection.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(redis: RedisServer, connect: Callable[[RedisServer], Connection], clock: Clock) -> Queue:
    return Queue(connect(redis), clock=clock)


@pytest.fixture
def services(redis: RedisServer, tmp_path: Path) -> Iterator[Services]:
    started = Services(redis.url, tmp_path)
    yield started
    started.end()


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[MailServer]:
    server = MailServer(tmp_path)
    yield server
    server.end()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


@pytest.fixture
def live(redis: RedisServer, connect: Callable[[RedisServer], Connection]) -> Queue:
    """The default queue by Redis' own clock, as the services use it."""
    return Queue(connect(redis))


@pytest.fixture(scope="session")
def redis8(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    try:
        program = redis8_command()
    except ClusterError as error:
        pytest.skip(f"no Redis 8: {error}")
    started = RedisServer(tmp_path_factory.mktemp("redis8"), program=program)
    yield started
    started.kill()
