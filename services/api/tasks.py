"""The endpoints about tasks."""

from typing import Any

import msgspec
from aiohttp import web
from taskqueue.batcher import EnqueueBatcher
from taskqueue.errors import FieldError, InvalidTaskError, TaskNotFoundError
from taskqueue.ids import queue_of
from taskqueue.model import StoredTask, rfc3339
from taskqueue.queue import Queue
from taskqueue.states import Status

from api.admission import Admission
from api.intake import Intake
from api.problems import json_answer

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


def described(task: StoredTask) -> dict[str, Any]:
    """A task as clients see it."""
    shown: dict[str, Any] = {
        "id": task.id,
        "type": task.type,
        "status": task.status,
        "created_at": rfc3339(task.created_us),
        "data": msgspec.Raw(task.data),
        "attempts": task.attempts,
    }
    if task.updated_us is not None:
        shown["updated_at"] = rfc3339(task.updated_us)
    if task.result is not None:
        shown["result"] = msgspec.Raw(task.result)
    return shown


class TaskEndpoints:
    """POST /tasks, GET /tasks, GET /tasks/{id}, GET /queue/stats."""

    def __init__(self, queue: Queue, batcher: EnqueueBatcher, intake: Intake, admission: Admission) -> None:
        self._queue = queue
        self._batcher = batcher
        self._intake = intake
        self._admission = admission

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/tasks", self.create),
            web.get("/tasks", self.list),
            web.get("/tasks/{id}", self.show),
            web.get("/queue/stats", self.stats),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """201 once Redis has the task; nothing is stored with any other answer but a lost one."""
        task = await self._intake.read(request)
        self._admission.admit()
        await self._batcher.enqueue(task)
        answer = {"task_id": task.id, "status": Status.QUEUED, "message": "Task created successfully"}
        return json_answer(answer, 201, {"Location": f"/tasks/{task.id}"})

    async def show(self, request: web.Request) -> web.Response:
        task_id = request.match_info["id"]
        if queue_of(task_id) != self._queue.name:
            raise TaskNotFoundError(f"no task has the id {task_id}")
        return json_answer(described(await self._queue.get(task_id)))

    async def list(self, request: web.Request) -> web.Response:
        page = await self._queue.page(_limit(request), self._cursor(request))
        tasks = [described(task) for task in page.tasks]
        return json_answer({"tasks": tasks, "count": page.count, "limit": _limit(request), "next": page.next})

    async def stats(self, _request: web.Request) -> web.Response:
        stats = await self._queue.stats()
        return json_answer(
            {
                "queue_length": stats.queued,
                "total_tasks": stats.stored,
                Status.QUEUED: stats.queued,
                Status.PROCESSING: stats.processing,
                Status.SCHEDULED: stats.scheduled,
                Status.COMPLETED: stats.completed,
                Status.FAILED: stats.failed,
                "workers": stats.workers,
                "totals": stats.totals,
            }
        )

    def _cursor(self, request: web.Request) -> str | None:
        cursor = request.query.get("cursor")
        if cursor is not None and queue_of(cursor) != self._queue.name:
            raise InvalidTaskError([FieldError("cursor", "must be the `next` of another page")])
        return cursor


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LIMIT):
        raise InvalidTaskError([FieldError("limit", f"must be a whole number from 1 to {MAX_LIMIT}")])
    return int(text)
