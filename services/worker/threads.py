"""Runs a handler that is a plain function in a thread of its own, so that it may block."""

import asyncio
import contextlib
import contextvars
import functools
import inspect
from collections.abc import Awaitable, Callable
from threading import Thread
from typing import Any

_Ended = tuple[Any, BaseException | None]


def in_thread(handler: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """A coroutine that ends no sooner than the thread does, cancelled or not: nothing can stop a
    thread, and two attempts of one task must not run side by side.

    Cancelled meanwhile, it raises CancelledError whatever the handler returned or raised then.
    """

    @functools.wraps(handler)
    async def run(payload: Any, context: Any) -> Any:
        ended = _start(functools.partial(handler, payload, context))
        cancelled = None
        while not ended.done():
            try:
                await asyncio.wait([ended])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
        result, error = ended.result()
        if error is not None:
            raise error
        return await result if inspect.isawaitable(result) else result  # a coroutine, undecorated

    return run


def _start(call: Callable[[], Any]) -> asyncio.Future[_Ended]:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[_Ended] = loop.create_future()
    scope = contextvars.copy_context()

    def work() -> None:
        outcome: _Ended
        try:
            outcome = scope.run(call), None
        except BaseException as error:
            outcome = None, error
        with contextlib.suppress(RuntimeError):  # the worker has ended without it
            loop.call_soon_threadsafe(_deliver, ended, outcome)

    # Not one of a pool: the pool's size would bound the concurrency, and at exit Python waits for it.
    Thread(target=work, name="handler", daemon=True).start()
    return ended


def _deliver(ended: asyncio.Future[_Ended], outcome: _Ended) -> None:
    if not ended.done():
        ended.set_result(outcome)
