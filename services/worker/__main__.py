"""Entry point of the worker: settings, logs, resources, probes, then the runtime until SIGTERM."""

import argparse
import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from typing import Any

import structlog
import uvloop
from pydantic_settings import BaseSettings
from taskqueue import logs, suitability
from taskqueue.catalog import Catalog
from taskqueue.connection import Connection
from taskqueue.errors import QueueUnavailableError, UnsuitableRedisError
from taskqueue.queue import Queue
from taskqueue.settings import SettingsError, describe, load

from worker.email.settings import EmailSettings
from worker.probes import probes
from worker.registry import TaskType, discover
from worker.runtime import Runtime
from worker.settings import HandlerSettings, WorkerSettings
from worker.source import RETRY_PAUSE_S, WAKE_S

_log = structlog.get_logger("worker")
USAGE_ERROR = 2


async def _serve(
    settings: WorkerSettings, types: dict[str, TaskType], loaded: dict[str, BaseSettings]
) -> None:
    async with AsyncExitStack() as stack:
        connection = Connection(settings)
        stack.push_async_callback(connection.close)
        blocking = Connection(settings, timeout_s=WAKE_S + settings.redis_timeout_s)
        stack.push_async_callback(blocking.close)
        resources: dict[str, Any] = {}
        for name, kind in types.items():
            if kind.open_resource is not None:
                resources[name] = await stack.enter_async_context(kind.open_resource(loaded.get(name)))
        queues = [(Queue(connection, name), Queue(blocking, name)) for name in settings.queues]
        runtime = Runtime(queues, types, resources, settings)
        loop = asyncio.get_running_loop()
        starting = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, starting.cancel if starting else runtime.stop)
        port = await stack.enter_async_context(probes(settings.probe_port, lambda: runtime.ready))
        catalogs = [Catalog(connection, name) for name in settings.queues]
        await _prepare(connection, catalogs, types, require_aof=settings.redis_require_aof)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, runtime.stop)
        _log.info(
            "started",
            worker=runtime.name,
            queues=settings.queues,
            types=sorted(types),
            concurrency=settings.worker_concurrency,
            probe_port=port,
        )
        await _run(runtime)


async def _run(runtime: Runtime) -> None:
    status = 1
    try:
        await runtime.run()
        status = 0
    finally:
        if left := len(runtime.slots.running):  # they heed no cancellation, and the loop would wait for them
            _log.error("left handlers that do not end", count=left, exc_info=status != 0)
            os._exit(status)


async def _prepare(
    connection: Connection, catalogs: list[Catalog], types: dict[str, TaskType], *, require_aof: bool
) -> None:
    """Waits for Redis, refuses one that would lose tasks, tells the API which types are served."""
    while True:
        try:
            await suitability.check(connection, require_aof=require_aof)
            for catalog in catalogs:
                await catalog.publish({name: kind.schema() for name, kind in types.items()})
                await catalog.publish_modes({name: kind.at_most_once for name, kind in types.items()})
        except QueueUnavailableError as error:
            _log.warning("waiting for redis", error=str(error))
            await asyncio.sleep(RETRY_PAUSE_S * 5)
        else:
            return


def _load() -> tuple[WorkerSettings, dict[str, TaskType], dict[str, BaseSettings]]:
    """The worker's settings, its types, and each type's settings; every error in one SettingsError."""
    (which,) = load(HandlerSettings)
    assert isinstance(which, HandlerSettings)
    try:
        types = discover(which.worker_handlers)
    except ModuleNotFoundError as error:
        raise SettingsError(f"these settings are wrong:\n  WORKER_HANDLERS: {error}") from error
    named = {name: kind.settings for name, kind in types.items() if kind.settings is not None}
    settings, *of_types = load(WorkerSettings, *named.values())
    assert isinstance(settings, WorkerSettings)
    return settings, types, dict(zip(named, of_types, strict=True))


def main() -> int:
    """Exit status: 0 after SIGTERM, 2 for wrong settings or an unsuitable Redis."""
    argparse.ArgumentParser(
        prog="python -m worker",
        description="Takes tasks from the queue and runs them until SIGTERM.",
        epilog=describe(HandlerSettings, WorkerSettings, EmailSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    try:
        settings, types, of_types = _load()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR
    logs.configure(settings.log_level, settings.log_format)
    try:
        uvloop.run(_serve(settings, types, of_types))
    except UnsuitableRedisError as error:
        _log.error("unsuitable redis", error=str(error))
        return USAGE_ERROR
    except asyncio.CancelledError:  # stopped before it had begun
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
