"""The task types this worker serves: a decorated coroutine each, one module a type."""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar, get_type_hints

import msgspec
from pydantic_settings import BaseSettings

P = ParamSpec("P")
R = TypeVar("R")
OpenResource = Callable[[Any], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskType:
    """A type's name, the type of its payload, its coroutine, and what it needs open to run.

    `open_resource` is entered once a worker, with the loaded `settings`, before the first task.
    """

    name: str
    payload: type[Any]
    run: Callable[..., Awaitable[Any]]
    max_attempts: int
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
    settings: type[BaseSettings] | None = None,
    open_resource: OpenResource | None = None,
) -> Callable[[Callable[Concatenate[Any, P], Awaitable[R]]], Callable[Concatenate[Any, P], Awaitable[R]]]:
    """Registers `async def handler(payload: SomeStruct, context: TaskContext) -> result`.

    The payload's annotation is its type: a msgspec.Struct. The result is anything JSON can hold.
    Raise `worker.errors.PermanentError` when no further attempt can succeed, RetryError to choose
    the delay; any other exception is retried with back-off, `max_attempts` in all.
    """

    def register(
        handler: Callable[Concatenate[Any, P], Awaitable[R]],
    ) -> Callable[Concatenate[Any, P], Awaitable[R]]:
        hints = get_type_hints(handler)
        payload = next(iter(hints.values()), None)
        if not (isinstance(payload, type) and issubclass(payload, msgspec.Struct)):
            raise TypeError(f"task type {name!r}: annotate the first parameter with a msgspec.Struct")
        if name in _REGISTERED and _REGISTERED[name].run.__module__ != handler.__module__:
            raise ValueError(f"task type {name!r} is defined twice")
        _REGISTERED[name] = TaskType(
            name=name,
            payload=payload,
            run=handler,
            max_attempts=max_attempts,
            settings=settings,
            open_resource=open_resource,
        )
        return handler

    return register


def discover(packages: str) -> dict[str, TaskType]:
    """Imports every module of the packages (names by commas); returns the types by name."""
    for package in filter(None, map(str.strip, packages.split(","))):
        root = importlib.import_module(package)
        for module in pkgutil.iter_modules(root.__path__, prefix=f"{package}."):
            importlib.import_module(module.name)
    return dict(_REGISTERED)
