"""The endpoints about queues and workers: stats, pause, resume, who works."""

from aiohttp import web
from taskqueue.model import WorkerRecord

from api.problems import json_answer
from api.served import ServedQueues
from api.shown import shown_stats, shown_worker


class QueueEndpoints:
    """GET /queue/stats, /queues, /queues/{name}/stats, /workers; POST /queues/{name}/pause and /resume."""

    def __init__(self, queues: ServedQueues) -> None:
        self._queues = queues

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/queue/stats", self.stats),
            web.get("/queues", self.list),
            web.get("/queues/{name}/stats", self.stats_of),
            web.post("/queues/{name}/pause", self.pause),
            web.post("/queues/{name}/resume", self.resume),
            web.get("/workers", self.workers),
        ]

    async def stats(self, request: web.Request) -> web.Response:
        """Of the first queue, or of the one that the query names."""
        served = self._queues.chosen(request.query.get("queue"))
        return json_answer(shown_stats(await served.queue.stats()))

    async def stats_of(self, request: web.Request) -> web.Response:
        served = self._queues.named(request.match_info["name"])
        return json_answer(shown_stats(await served.queue.stats()))

    async def list(self, _request: web.Request) -> web.Response:
        shown = [{"name": s.name, **shown_stats(await s.queue.stats())} for s in self._queues]
        return json_answer({"queues": shown})

    async def pause(self, request: web.Request) -> web.Response:
        """Tasks are accepted and settled still, none is begun."""
        served = self._queues.named(request.match_info["name"])
        changed = await served.queue.pause()
        return json_answer({"queue": served.name, "paused": True, "changed": changed})

    async def resume(self, request: web.Request) -> web.Response:
        served = self._queues.named(request.match_info["name"])
        changed = await served.queue.resume()
        return json_answer({"queue": served.name, "paused": False, "changed": changed})

    async def workers(self, _request: web.Request) -> web.Response:
        """Every worker of these queues heard of in the last minute; one of several queues once."""
        latest: dict[str, WorkerRecord] = {}
        for served in self._queues:
            for record in await served.queue.workers():
                known = latest.get(record.name)
                if known is None or record.seen_us > known.seen_us:
                    latest[record.name] = record
        shown = [shown_worker(latest[name]) for name in sorted(latest)]
        return json_answer({"workers": shown, "count": len(shown)})
