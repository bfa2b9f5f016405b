"""One attempt at a time, such as a connect, for all who need its result."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedAttempt(Generic[T]):
    """Callers wait for the attempt under way, or begin one; a cancelled caller leaves it to the others."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._task: asyncio.Task[T] | None = None

    async def result(self, deadline_s: float) -> T:
        """What the attempt gives, or raises; TimeoutError at the deadline of the loop's clock."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(self._over)
        task = self._task
        async with asyncio.timeout_at(deadline_s):
            # Not awaited itself: it must not be cancelled with one caller, nor cancel one when it ends.
            await asyncio.wait([task])
        if task.cancelled():
            raise ConnectionError("closed")
        return task.result()

    async def close(self) -> None:
        """Ends the attempt under way; those who wait get ConnectionError."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> T:
        return await self._make()

    def _over(self, task: asyncio.Task[T]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()  # looked at: with every caller cancelled nobody else does
