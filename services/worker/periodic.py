"""Enqueues the tasks of types that have a `cron`: each time once, however many workers there are."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec
import structlog
from cronsim import CronSim
from taskqueue.errors import QueueError
from taskqueue.ids import new_id
from taskqueue.model import MICROSECOND, Extra, NewTask, Receipt
from taskqueue.queue import Queue

from worker.registry import TaskType

T = TypeVar("T")
RETRY_PAUSE_S = 1.0
LONGEST_NAP_S = 60.0
"""The wall clock may be set meanwhile, so it is looked at again at least this often."""
_log = structlog.get_logger("worker")


def _now() -> datetime:
    return datetime.now(UTC)


class Periodic:
    """All workers try at each due time; the script lets the first one in and turns away the rest.

    Times that passed while no worker ran, or Redis was away, are made up for once, if the schedule
    had fired before.
    """

    def __init__(
        self, queue: Queue, types: Mapping[str, TaskType], clock: Callable[[], datetime] = _now
    ) -> None:
        self._queue = queue
        self._types = [kind for kind in types.values() if kind.cron]
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled; returns at once where no type has a cron."""
        if self._types:
            await asyncio.gather(*(self._repeat(kind, str(kind.cron)) for kind in self._types))

    async def _repeat(self, kind: TaskType, cron: str) -> None:
        missed = self._latest(cron)
        last_us = await _answered(lambda: self._queue.last_fired(kind.name))
        if last_us is not None and last_us < _micros(missed):
            await self._fire(kind, missed)
        after = self._clock()
        while True:
            due = next(CronSim(cron, after))
            # The wall clock, which may be set meanwhile, has no event to wait for.
            while (wait_s := (due - self._clock()).total_seconds()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(min(wait_s, LONGEST_NAP_S))
            after = max(due, self._latest(cron))  # of several that passed meanwhile, the last one
            await self._fire(kind, after)

    def _latest(self, cron: str) -> datetime:
        """The last due time that is not in the future."""
        now = self._clock().replace(microsecond=0)
        return next(CronSim(cron, now + timedelta(seconds=1), reverse=True))

    async def _fire(self, kind: TaskType, due: datetime) -> None:
        task = NewTask(
            new_id(self._queue.name),
            kind.name,
            msgspec.json.encode(kind.payload()),
            Extra(periodic=(kind.name, _micros(due))),
        )
        (receipt,) = await _answered(lambda: self._queue.enqueue([task]))
        if isinstance(receipt, Receipt) and receipt.stored:
            _log.info("periodic task queued", type=kind.name, task_id=task.id, due=due.isoformat())


async def _answered(call: Callable[[], Awaitable[T]]) -> T:
    """Repeats the call until Redis has answered it; both calls made here are safe to repeat."""
    while True:
        try:
            return await call()
        except QueueError as error:
            _log.warning("periodic task not queued yet", error=str(error))
            await asyncio.sleep(RETRY_PAUSE_S)


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * MICROSECOND
