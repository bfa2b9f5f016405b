"""The probes: live while the loop turns, ready while Redis takes a write."""

import asyncio

from aiohttp import web
from taskqueue.errors import QueueError

from api.created import CreatedAnswers
from api.problems import RETRY_AFTER_S, json_answer
from api.served import ServedQueues

PROBE_S = 1.0
"""A probe must answer before the kubelet's own time-out (2 s here)."""


class HealthEndpoints:
    """GET /health, /healthz/live, /healthz/ready."""

    def __init__(self, queues: ServedQueues, created: CreatedAnswers) -> None:
        self._queues = queues
        self._created = created

    @property
    def stopping(self) -> bool:
        return self._created.closing

    def stop(self) -> None:
        """From now on it is not ready, and every answer closes its connection."""
        self._created.closing = True

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self.health),
            web.get("/healthz/live", self.live),
            web.get("/healthz/ready", self.ready),
        ]

    async def live(self, _request: web.Request) -> web.Response:
        """Never depends on Redis: a restart would not bring that back."""
        return json_answer({"status": "alive"})

    async def ready(self, request: web.Request) -> web.Response:
        if self.stopping:
            return json_answer({"status": "stopping"}, 503)
        return await self.health(request)

    async def health(self, _request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(PROBE_S):
                await asyncio.gather(*(served.queue.check_writable() for served in self._queues))
        except (QueueError, TimeoutError) as error:
            problem = getattr(error, "code", "redis_unavailable")
            body = {"status": "unhealthy", "redis": "disconnected", "error": problem}
            return json_answer(body, 503, {"Retry-After": str(RETRY_AFTER_S)})
        return json_answer({"status": "healthy", "redis": "connected"})
