"""This queue: the client is the synchronous producer that it ships."""

from typing import Any

import settings
import uvloop
from client import answer_orders
from taskqueue.connection import Connection
from taskqueue.producer import Producer
from taskqueue.queue import Queue
from taskqueue.settings import RedisSettings

_FIELDS = {
    "nothing": ("number",),
    "timed": ("sent_s",),
    "nap": ("name", "nap_s"),
    "email": ("subject", "recipient", "content"),
}


def _data(task: str, args: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_FIELDS[task], args, strict=True))


class Own:
    """What is pending is read by the asynchronous client, as the producer only enqueues."""

    def __init__(self) -> None:
        self._producer = Producer(settings.REDIS_URL)
        self._queue = Queue(Connection(RedisSettings(redis_url=settings.REDIS_URL)))

    def one(self, task: str, *args: Any) -> None:
        self._producer.enqueue(task, _data(task, args))

    def many(self, task: str, rows: list[tuple[Any, ...]]) -> None:
        self._producer.enqueue_many(task, [_data(task, row) for row in rows])

    async def pending(self) -> int:
        stats = await self._queue.stats()
        return stats.queued + stats.processing + stats.scheduled


async def _main() -> None:
    await answer_orders(Own())


def main() -> None:
    """The client."""
    uvloop.run(_main())
