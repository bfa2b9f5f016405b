"""Entry point of the API: settings, logs, then serve until SIGTERM."""

import argparse
import asyncio
import signal
import sys
import time

import structlog
import uvloop
from aiohttp import web
from taskqueue import logs, suitability
from taskqueue.connection import Connection
from taskqueue.errors import QueueUnavailableError, UnsuitableRedisError
from taskqueue.settings import SettingsError, describe, load

from api.app import HEALTH, build_app
from api.envelope import Durability
from api.settings import ApiSettings

_log = structlog.get_logger("api")
USAGE_ERROR = 2
DRAIN_TICK_S = 0.05


async def _check_redis(settings: ApiSettings) -> None:
    """Refuses a Redis that would lose tasks; one that is away is waited for by readiness."""
    connection = Connection(settings)
    try:
        found = await suitability.check(connection, require_aof=settings.redis_require_aof)
        if settings.durability is Durability.FSYNC and not found.waitaof_offered:
            raise UnsuitableRedisError(
                f"DURABILITY=fsync needs Redis 7.2 or later with appendonly yes, and this is {found.version}"
                f" with appendonly {'yes' if found.append_only else 'no'}: change that, or DURABILITY"
            )
    except QueueUnavailableError as error:
        _log.warning("redis is away", error=str(error))
    finally:
        await connection.close()


def app_server(runner: web.AppRunner) -> web.Server:
    """The server of a runner that was set up."""
    assert runner.server is not None
    return runner.server


async def _drain(runner: web.AppRunner, limit_s: float) -> None:
    """Serves on, each answer closing its connection, until none is left or the time is up.

    Closing kept-alive connections at once would reset clients that are just about to send.
    """
    end = time.monotonic() + limit_s
    # The server tells of its connections, but not when the last one goes.
    while app_server(runner).connections and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(DRAIN_TICK_S)


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
        app[HEALTH].stop()
        _log.info("stopping", connections=len(app_server(runner).connections))
        await _drain(runner, settings.drain_s)
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
