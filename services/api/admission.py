"""Refuses tasks before Redis is full: what is accepted must also be able to finish."""

import asyncio

import structlog
from taskqueue.errors import QueueFullError, QueueUnavailableError

from api.problems import OverloadedError
from api.served import ServedQueues
from api.settings import ApiSettings

SAMPLE_S = 1.0
_log = structlog.get_logger("api")


class Admission:
    """Knows, from a sample a second, whether Redis is near its memory limit, or a queue too long."""

    def __init__(self, queues: ServedQueues, settings: ApiSettings) -> None:
        self._queues = queues
        self._memory_limit = settings.memory_limit_share
        self._length_limit = settings.max_queue_length
        self._memory_share = 0.0
        self._lengths: dict[str, int] = {}

    def admit(self, queue: str) -> None:
        """Raises QueueFullError (503) for every queue, or OverloadedError (429) for this one."""
        if self._memory_share >= self._memory_limit:
            raise QueueFullError(f"the queue's store is {self._memory_share:.0%} full; try again later")
        if self._length_limit and self._lengths.get(queue, 0) >= self._length_limit:
            raise OverloadedError(f"{self._lengths[queue]} tasks wait already; try again later")

    async def watch(self) -> None:
        """Samples until cancelled."""
        while True:
            try:
                await self._sample()
            except QueueUnavailableError as error:
                _log.debug("no sample", error=str(error))
            await asyncio.sleep(SAMPLE_S)

    async def _sample(self) -> None:
        self._memory_share = await self._queues.first.queue.memory_share()
        if self._length_limit:
            for served in self._queues:
                self._lengths[served.name] = (await served.queue.stats()).queued
