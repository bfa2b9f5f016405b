"""This queue: the client is the synchronous producer that it ships."""

from typing import Any

import msgspec
import settings
import uvloop
from client import answer_orders
from taskqueue.connection import Connection
from taskqueue.ids import new_id
from taskqueue.model import NewTask
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
    """The asyncio client, until there is a synchronous one."""

    def __init__(self) -> None:
        connection = Connection(RedisSettings(redis_url=settings.REDIS_URL))
        self._queue = Queue(connection)

    async def one(self, task: str, *args: Any) -> None:
        await self._queue.enqueue([_new(task, args)])

    async def many(self, task: str, rows: list[tuple[Any, ...]]) -> None:
        await self._queue.enqueue([_new(task, row) for row in rows])

    async def pending(self) -> int:
        stats = await self._queue.stats()
        return stats.queued + stats.processing + stats.scheduled


def _new(task: str, args: tuple[Any, ...]) -> NewTask:
    return NewTask(new_id(), task, msgspec.json.encode(_data(task, args)))


async def _main() -> None:
    await answer_orders(Own())


def main() -> None:
    """The client."""
    uvloop.run(_main())
