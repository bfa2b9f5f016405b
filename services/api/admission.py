"""Refuses tasks before Redis is full: what is accepted must also be able to finish."""

import asyncio

import structlog
from taskqueue.errors import QueueFullError, QueueUnavailableError
from taskqueue.queue import Queue

from api.problems import OverloadedError
from api.settings import ApiSettings

SAMPLE_S = 1.0
_log = structlog.get_logger("api")


class Admission:
    """Knows, from a sample a second, whether Redis is near its memory limit or the queue too long."""

    def __init__(self, queue: Queue, settings: ApiSettings) -> None:
        self._queue = queue
        self._memory_limit = settings.memory_limit_share
        self._length_limit = settings.max_queue_length
        self._memory_share = 0.0
        self._length = 0

    def admit(self) -> None:
        """Raises QueueFullError (503) or OverloadedError (429)."""
        if self._memory_share >= self._memory_limit:
            raise QueueFullError(f"the queue's store is {self._memory_share:.0%} full; try again later")
        if self._length_limit and self._length >= self._length_limit:
            raise OverloadedError(f"{self._length} tasks wait already; try again later")

    async def watch(self) -> None:
        """Samples until cancelled."""
        while True:
            try:
                self._memory_share = await self._queue.memory_share()
                if self._length_limit:
                    self._length = (await self._queue.stats()).queued
            except QueueUnavailableError as error:
                _log.debug("no sample", error=str(error))
            await asyncio.sleep(SAMPLE_S)
