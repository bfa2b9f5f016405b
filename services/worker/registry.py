"""The task types this worker serves: a decorated function each, one module a type."""

import importlib
import inspect
import pkgutil
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar, get_type_hints

import msgspec
from cronsim import CronSim, CronSimError
from pydantic_settings import BaseSettings
from taskqueue.decoding import decoder

from worker.threads import in_thread

P = ParamSpec("P")
R = TypeVar("R")
OpenResource = Callable[[Any], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskType:
    """A type's name, the type of its payload, its coroutine, and what it needs open to run.

    `open_resource` is entered once a worker, with the loaded `settings`, before the first task.
    `decode` turns a payload's JSON into `payload`, or raises InvalidTaskError.
    """

    name: str
    payload: type[Any]
    decode: Callable[[bytes], Any]
    run: Callable[..., Awaitable[Any]]
    max_attempts: int
    time_limit_s: float | None = None
    heartbeat_s: float | None = None
    at_most_once: bool = False
    prefetch: bool = True
    cron: str | None = None
    settings: type[BaseSettings] | None = None
    open_resource: OpenResource | None = None

    def schema(self) -> bytes:
        """The JSON Schema of the payload."""
        return msgspec.json.encode(msgspec.json.schema(self.payload))


_REGISTERED: dict[str, TaskType] = {}


def task(
    name: str,
    *,
    max_attempts: int = 5,
    time_limit_s: float | None = None,
    heartbeat_s: float | None = None,
    at_most_once: bool = False,
    prefetch: bool = True,
    cron: str | None = None,
    settings: type[BaseSettings] | None = None,
    open_resource: OpenResource | None = None,
) -> Callable[[Callable[Concatenate[Any, P], R]], Callable[Concatenate[Any, P], R]]:
    """Registers `async def handler(payload: SomeStruct, context: TaskContext) -> result`.

    The payload's annotation is its type: a msgspec.Struct. The result is anything JSON can hold.
    A plain `def` runs in a thread, so that it may block; it has to look at `context.stopping`, as
    its place is taken until it returns. Raise `worker.errors.PermanentError` when
    no further attempt can succeed, RetryError to choose the delay; any other exception (SystemExit
    and an unasked CancelledError, too) is retried with back-off, `max_attempts` in all.

    - `time_limit_s`: an attempt that takes longer is stopped, and counts as failed.
    - `heartbeat_s`: so is one that calls neither `context.heartbeat` nor `context.progress` for so long.
    - `at_most_once`: an attempt that was begun is never repeated, whatever became of it.
    - `prefetch`: False keeps a worker that serves this type from claiming more than it runs.
    - `cron`: five fields in UTC; the task is enqueued at those times, once however many workers
      there are, with a payload of defaults.
    """

    def register(
        handler: Callable[Concatenate[Any, P], R],
    ) -> Callable[Concatenate[Any, P], R]:
        hints = get_type_hints(handler)
        payload = next(iter(hints.values()), None)
        if not (isinstance(payload, type) and issubclass(payload, msgspec.Struct)):
            raise TypeError(f"task type {name!r}: annotate the first parameter with a msgspec.Struct")
        if cron is not None:
            _check_periodic(name, cron, payload)
        if name in _REGISTERED and _REGISTERED[name].run.__module__ != handler.__module__:
            raise ValueError(f"task type {name!r} is defined twice")
        _REGISTERED[name] = TaskType(
            name=name,
            payload=payload,
            decode=decoder(payload),
            run=_as_coroutine(handler),
            max_attempts=max_attempts,
            time_limit_s=time_limit_s,
            heartbeat_s=heartbeat_s,
            at_most_once=at_most_once,
            prefetch=prefetch,
            cron=cron,
            settings=settings,
            open_resource=open_resource,
        )
        return handler

    return register


def _check_periodic(name: str, cron: str, payload: type[Any]) -> None:
    try:
        if len(cron.split()) != 5:
            raise CronSimError("wrong number of fields")
        CronSim(cron, datetime.now(UTC))
        payload()
    except CronSimError as error:
        raise ValueError(f"task type {name!r}: {cron!r} are no five cron fields: {error}") from error
    except TypeError as error:
        raise TypeError(
            f"task type {name!r}: with cron, every field of its payload needs a default"
        ) from error


def _as_coroutine(handler: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    return handler if inspect.iscoroutinefunction(handler) else in_thread(handler)


def discover(packages: str) -> dict[str, TaskType]:
    """Imports every module of the packages (names by commas); returns the types by name."""
    for package in filter(None, map(str.strip, packages.split(","))):
        root = importlib.import_module(package)
        for module in pkgutil.iter_modules(root.__path__, prefix=f"{package}."):
            importlib.import_module(module.name)
    return dict(_REGISTERED)
