"""The worker's probes by HTTP: live while the loop turns, ready while it can take tasks."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def probes(port: int, is_ready: Callable[[], bool]) -> AsyncGenerator[int]:
    """Serves /healthz/live and /healthz/ready; yields the port it listens on."""

    async def live(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def ready(_request: web.Request) -> web.Response:
        if is_ready():
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "not ready"}, status=503)

    app = web.Application()
    app.add_routes([web.get("/healthz/live", live), web.get("/healthz/ready", ready)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "0.0.0.0", port)  # noqa: S104  the kubelet calls from outside
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
