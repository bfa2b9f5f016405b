"""The queues that this API serves, found by name or by a task's id."""

from collections.abc import Iterator
from dataclasses import dataclass

from taskqueue import suitability
from taskqueue.batcher import EnqueueBatcher
from taskqueue.catalog import Catalog
from taskqueue.connection import Connection
from taskqueue.core import FSYNC_MS
from taskqueue.errors import FieldError, InvalidTaskError, QueueError, TaskNotFoundError
from taskqueue.ids import queue_of
from taskqueue.queue import Queue


class UnknownQueueError(QueueError, LookupError):
    """A path names a queue that is not served here."""

    code = "queue_not_found"
    http_status = 404


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """One queue, and what tasks go into it by."""

    queue: Queue
    batcher: EnqueueBatcher
    durable_batcher: EnqueueBatcher
    catalog: Catalog

    @property
    def name(self) -> str:
        return self.queue.name


class ServedQueues:
    """Every queue of the settings; the first is meant where a client names none."""

    def __init__(self, connection: Connection, names: list[str], patience_s: float) -> None:
        self._by_name: dict[str, Served] = {}
        for name in names:
            queue = Queue(connection, name)
            self._by_name[name] = Served(
                queue,
                EnqueueBatcher(queue, patience_s=patience_s),
                EnqueueBatcher(queue, patience_s=patience_s + FSYNC_MS / 1000, durably=True),
                Catalog(connection, name),
            )
        self._connection = connection
        self._fsync_offered = False
        self.first = self._by_name[names[0]]

    def __iter__(self) -> Iterator[Served]:
        return iter(self._by_name.values())

    def chosen(self, name: str | None) -> Served:
        """The queue that a field or a query names; InvalidTaskError if it is not served."""
        if name is None:
            return self.first
        if name not in self._by_name:
            known = ", ".join(self._by_name)
            raise InvalidTaskError([FieldError("queue", f"is not served here; known: {known}")])
        return self._by_name[name]

    def named(self, name: str) -> Served:
        """The queue of a path; UnknownQueueError if it is not served."""
        if name not in self._by_name:
            raise UnknownQueueError(f"no queue named {name} is served here")
        return self._by_name[name]

    def of(self, task_id: str) -> Queue:
        """The queue that an id belongs to; TaskNotFoundError if it is not served, or no id at all."""
        served = self._by_name.get(queue_of(task_id) or "")
        if served is None:
            raise TaskNotFoundError(f"no task has the id {task_id}")
        return served.queue

    async def check_durable(self) -> None:
        """InvalidTaskError where this Redis cannot tell what is on disk; asked until it can."""
        if not self._fsync_offered:
            found = suitability.facts(await self._connection.command("INFO"))
            self._fsync_offered = found.waitaof_offered
        if not self._fsync_offered:
            words = "fsync is not offered: the queue's Redis is older than 7.2, or has no append-only file"
            raise InvalidTaskError([FieldError("durability", words)])

    async def close(self) -> None:
        """Waits for the enqueues under way."""
        for served in self:
            await served.batcher.close()
            await served.durable_batcher.close()
