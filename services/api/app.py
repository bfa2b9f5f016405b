"""Puts the API together: connections, endpoints, background samples, orderly end."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from aiohttp import web
from taskqueue.batcher import EnqueueBatcher
from taskqueue.catalog import Catalog
from taskqueue.connection import Connection
from taskqueue.queue import Queue

from api.admission import Admission
from api.health import HealthEndpoints
from api.intake import Intake
from api.problems import problems
from api.settings import ApiSettings
from api.tasks import TaskEndpoints

HEALTH = web.AppKey("health", HealthEndpoints)


def build_app(settings: ApiSettings) -> web.Application:
    """The application; it opens its connections at start and closes them after the last request."""
    connection = Connection(settings)
    queue = Queue(connection, settings.queue_name)
    batcher = EnqueueBatcher(queue, patience_s=settings.redis_timeout_s)
    admission = Admission(queue, settings)
    health = HealthEndpoints(queue)
    intake = Intake(Catalog(connection, settings.queue_name), settings.queue_name)

    async def background(_app: web.Application) -> AsyncGenerator[None]:
        sampling = asyncio.create_task(admission.watch(), name="admission")
        yield
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling
        await batcher.close()
        await connection.close()

    async def closing(_request: web.Request, answer: web.StreamResponse) -> None:
        if health.stopping:
            answer.force_close()

    app = web.Application(middlewares=[problems], client_max_size=settings.max_body_bytes)
    app[HEALTH] = health
    app.add_routes(health.routes())
    app.add_routes(TaskEndpoints(queue, batcher, intake, admission).routes())
    app.cleanup_ctx.append(background)
    app.on_response_prepare.append(closing)
    return app
