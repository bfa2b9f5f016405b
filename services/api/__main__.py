"""Entry point of the API: settings, logs, then serve until SIGTERM."""

import argparse
import asyncio
import signal
import sys

import structlog
import uvloop
from aiohttp import web
from taskqueue import logs
from taskqueue.connection import Connection
from taskqueue.errors import QueueUnavailableError, UnsuitableRedisError
from taskqueue.queue import Queue
from taskqueue.settings import SettingsError, describe, load

from api.app import HEALTH, build_app
from api.settings import ApiSettings

_log = structlog.get_logger("api")
USAGE_ERROR = 2


async def _check_redis(settings: ApiSettings) -> None:
    """Refuses a Redis that would lose tasks; one that is away is waited for by readiness."""
    connection = Connection(settings)
    try:
        await Queue(connection, settings.queue_name).check_suitable()
    except QueueUnavailableError as error:
        _log.warning("redis is away", error=str(error))
    finally:
        await connection.close()


async def _serve(settings: ApiSettings) -> None:
    await _check_redis(settings)
    app = build_app(settings)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=settings.shutdown_grace_s)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
        _log.info("started", address=runner.addresses[0][0], port=runner.addresses[0][1])
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()
        app[HEALTH].stopping = True
        _log.info("stopping")
    finally:
        await runner.cleanup()
    _log.info("stopped")


def main() -> int:
    """Exit status: 0 after SIGTERM, 1 if the port is taken, 2 for wrong settings or Redis."""
    argparse.ArgumentParser(
        prog="python -m api",
        description="Serves the task queue's HTTP API until SIGTERM.",
        epilog=describe(ApiSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    try:
        (settings,) = load(ApiSettings)
        assert isinstance(settings, ApiSettings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR
    logs.configure(settings.log_level, settings.log_format)
    try:
        uvloop.run(_serve(settings))
    except UnsuitableRedisError as error:
        _log.error("unsuitable redis", error=str(error))
        return USAGE_ERROR
    except OSError as error:
        _log.error("cannot listen", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
