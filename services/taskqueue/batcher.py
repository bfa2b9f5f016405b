"""Gathers enqueues that arrive while a script call is under way into the next call."""

import asyncio
import contextlib
import time

from taskqueue.core import SLICE
from taskqueue.errors import QueueError, QueueUnavailableError
from taskqueue.model import NewTask, Receipt
from taskqueue.queue import Queue, slices

_PAUSE_S = 0.05
_Waiting = tuple[NewTask, asyncio.Future[Receipt]]


class EnqueueBatcher:
    """One call at a time to Redis, each with all that has come since the one before.

    A call whose answer was lost is repeated (enqueue is idempotent by id) until `patience_s` has
    passed since the first task in it came; then its callers get QueueUnavailableError. `durably`:
    its callers wait until Redis has their tasks on disk, all of a call for the same fsync.
    """

    def __init__(self, queue: Queue, patience_s: float, *, durably: bool = False) -> None:
        self._queue = queue
        self._durably = durably
        self._patience_s = patience_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[_Waiting] = []
        self._sender: asyncio.Task[None] | None = None

    def enqueue(self, task: NewTask) -> asyncio.Future[Receipt]:
        """Done once Redis has stored the task; raises QueueFullError, QueueUnavailableError, or
        IdempotencyConflictError.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        done: asyncio.Future[Receipt] = self._loop.create_future()
        self._waiting.append((task, done))
        if self._sender is None:
            self._sender = self._loop.create_task(self._send_all())
        return done

    async def enqueue_many(self, tasks: list[NewTask]) -> list[Receipt | QueueError]:
        """What became of each task. Slices go one by one, so that single tasks have their turn between
        them; once Redis does not answer, the rest is not tried: each of them gets that error.
        """
        receipts: list[Receipt | QueueError] = []
        gone: QueueUnavailableError | None = None
        for part in slices(tasks):
            try:
                receipts += [gone] * len(part) if gone else await self._send(part)
            except QueueError as error:
                gone = error if isinstance(error, QueueUnavailableError) else None
                receipts += [error] * len(part)
        return receipts

    async def close(self) -> None:
        """Waits for what is under way."""
        if self._sender is not None:
            with contextlib.suppress(QueueError):
                await self._sender

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:SLICE], self._waiting[SLICE:]
                await self._send_batch(batch)
        finally:
            self._sender = None

    async def _send_batch(self, batch: list[_Waiting]) -> None:
        try:
            receipts = await self._send([task for task, _ in batch])
        except Exception as error:  # each caller gets it
            for _, done in batch:
                if not done.done():  # its caller may have gone away
                    done.set_exception(error)
            return
        for (_, done), receipt in zip(batch, receipts, strict=True):
            if done.done():
                continue
            if isinstance(receipt, Receipt):
                done.set_result(receipt)
            else:
                done.set_exception(receipt)

    async def _send(self, tasks: list[NewTask]) -> list[Receipt | QueueError]:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + self._patience_s):
                    return [*await self._queue.enqueue(tasks, durably=self._durably)]
            except (QueueUnavailableError, TimeoutError) as error:
                if time.monotonic() + _PAUSE_S >= deadline:
                    raise QueueUnavailableError(f"Redis does not answer: {error}") from error
                await asyncio.sleep(_PAUSE_S)
