"""Gathers enqueues that arrive while a script call is under way into the next call."""

import asyncio
import contextlib
import time

from taskqueue.core import SLICE
from taskqueue.errors import IdempotencyConflictError, QueueError, QueueUnavailableError
from taskqueue.model import NewTask, Receipt
from taskqueue.queue import Queue

_PAUSE_S = 0.05
_Waiting = tuple[NewTask, asyncio.Future[Receipt]]


class EnqueueBatcher:
    """One call at a time to Redis, each with all that has come since the one before.

    A call whose answer was lost is repeated (enqueue is idempotent by id) until `patience_s` has
    passed since the first task in it came; then its callers get QueueUnavailableError.
    """

    def __init__(self, queue: Queue, patience_s: float) -> None:
        self._queue = queue
        self._patience_s = patience_s
        self._waiting: list[_Waiting] = []
        self._sender: asyncio.Task[None] | None = None

    async def enqueue(self, task: NewTask) -> Receipt:
        """Returns once Redis has stored the task; raises QueueFullError, QueueUnavailableError, or
        IdempotencyConflictError.
        """
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((task, done))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())
        return await done

    async def close(self) -> None:
        """Waits for what is under way."""
        if self._sender is not None:
            with contextlib.suppress(QueueError):
                await self._sender

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:SLICE], self._waiting[SLICE:]
            try:
                receipts = await self._send([task for task, _ in batch])
            except Exception as error:  # each caller gets it
                for _, done in batch:
                    if not done.done():  # its caller may have gone away
                        done.set_exception(error)
            else:
                for (_, done), receipt in zip(batch, receipts, strict=True):
                    if done.done():
                        continue
                    if isinstance(receipt, Receipt):
                        done.set_result(receipt)
                    else:
                        done.set_exception(receipt)

    async def _send(self, tasks: list[NewTask]) -> list[Receipt | IdempotencyConflictError]:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + self._patience_s):
                    return await self._queue.enqueue(tasks)
            except (QueueUnavailableError, TimeoutError) as error:
                if time.monotonic() + _PAUSE_S >= deadline:
                    raise QueueUnavailableError(f"Redis does not answer: {error}") from error
                await asyncio.sleep(_PAUSE_S)
