"""Puts the API together: connections, endpoints, background samples, orderly end."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from aiohttp import web
from taskqueue.connection import Connection

from api.admission import Admission
from api.created import CreatedAnswers
from api.deadletters import DeadLetterEndpoints
from api.health import HealthEndpoints
from api.intake import Intake
from api.problems import problems
from api.queues import QueueEndpoints
from api.served import ServedQueues
from api.settings import ApiSettings
from api.submission import SubmissionEndpoints
from api.tasks import TaskEndpoints

HEALTH = web.AppKey("health", HealthEndpoints)


def build_app(settings: ApiSettings) -> web.Application:
    """The application; it opens its connections at start and closes them after the last request."""
    connection = Connection(settings)
    queues = ServedQueues(connection, settings.queues, patience_s=settings.redis_timeout_s)
    admission = Admission(queues, settings)
    created = CreatedAnswers()
    health = HealthEndpoints(queues, created)
    intake = Intake(queues, settings.durability)
    submission = SubmissionEndpoints(intake, admission, created, settings.max_batch_bytes)

    async def background(_app: web.Application) -> AsyncGenerator[None]:
        sampling = asyncio.create_task(admission.watch(), name="admission")
        yield
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling
        await queues.close()
        await connection.close()

    async def closing(_request: web.Request, answer: web.StreamResponse) -> None:
        if health.stopping:
            answer.force_close()

    app = web.Application(middlewares=[problems], client_max_size=settings.max_body_bytes)
    app[HEALTH] = health
    for endpoints in (
        submission,
        TaskEndpoints(queues),
        DeadLetterEndpoints(queues),
        QueueEndpoints(queues),
        health,
    ):
        app.add_routes(endpoints.routes())
    app.cleanup_ctx.append(background)
    app.on_response_prepare.append(closing)
    return app
