"""The synchronous producer on a real Redis: what it stores, and what a lost connection costs."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from taskqueue.connection import Connection
from taskqueue.errors import QueueFullError, QueueUnavailableError
from taskqueue.model import MICROSECOND, Priority
from taskqueue.producer import Producer
from taskqueue.queue import Queue
from taskqueue.states import Status

from tests.fixtures.processes import RedisServer, free_port


@pytest.fixture
def producer(redis: RedisServer) -> Iterator[Producer]:
    with Producer(redis.url) as made:
        yield made


@pytest.fixture
def reader(redis: RedisServer, connect: Callable[[RedisServer], Connection]) -> Queue:
    return Queue(connect(redis))


async def claimed(queue: Queue, want: int) -> list[str]:
    reply = await queue.settle_and_claim("w", 1, [], want, lease_us=10 * MICROSECOND, wait_us=MICROSECOND)
    return [claim.id for claim in reply.claims]


async def test_what_it_stores_is_claimed_in_order(producer: Producer, reader: Queue) -> None:
    first = producer.enqueue("noop", {"n": 1})
    rest = producer.enqueue_many("noop", ({"n": n} for n in range(450)))
    assert len(rest) == 450
    assert await claimed(reader, 200) == [first, *rest][:200]
    assert (await reader.get(first)).data == b'{"n":1}'
    assert (await reader.stats()).stored == 451


async def test_options_reach_the_task(producer: Producer, reader: Queue) -> None:
    later = producer.enqueue("noop", {}, delay_s=60)
    urgent = producer.enqueue("noop", {}, priority=Priority.HIGH, max_attempts=2)
    assert (await reader.get(later)).status is Status.SCHEDULED
    assert (await reader.get(urgent)).priority is Priority.HIGH
    assert producer.enqueue_many("noop", []) == []


async def test_threads_share_it(producer: Producer, reader: Queue) -> None:
    def enqueue(n: int) -> str:
        return producer.enqueue("noop", {"n": n})

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(enqueue, range(200)))
    assert set(await claimed(reader, 200)) == ids


async def test_a_cut_connection_stores_the_task_once(
    producer: Producer, reader: Queue, redis: RedisServer
) -> None:
    producer.enqueue("noop", {})
    redis.cli("client", "kill", "type", "normal")
    producer.enqueue("noop", {})
    assert (await reader.stats()).stored == 2


def test_a_full_redis_and_one_that_is_away_are_told_apart(producer: Producer, redis: RedisServer) -> None:
    redis.cli("config", "set", "maxmemory", "1")
    try:
        with pytest.raises(QueueFullError):
            producer.enqueue("noop", {})
    finally:
        redis.cli("config", "set", "maxmemory", "0")
    with (
        Producer(f"redis://127.0.0.1:{free_port()}/0", patience_s=0.2) as lonely,
        pytest.raises(QueueUnavailableError),
    ):
        lonely.enqueue("noop", {})
