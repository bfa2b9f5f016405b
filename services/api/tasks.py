"""The endpoints about tasks that exist: look up, list, cancel, retry, remove."""

from aiohttp import web
from taskqueue.errors import FieldError, InvalidTaskError, TaskNotFoundError
from taskqueue.ids import queue_of
from taskqueue.states import Status

from api.problems import WrongStateError, json_answer
from api.purge import purge_recipient
from api.queries import limit_of, wrong_cursor
from api.served import ServedQueues
from api.shown import shown_task

ENDED_BADLY = (Status.FAILED, Status.CANCELLED)


class TaskEndpoints:
    """GET and DELETE of /tasks and /tasks/{id}, POST /tasks/{id}/cancel and /retry."""

    def __init__(self, queues: ServedQueues) -> None:
        self._queues = queues

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/tasks", self.list),
            web.delete("/tasks", self.remove_of_recipient),
            web.get("/tasks/{id}", self.show),
            web.delete("/tasks/{id}", self.remove),
            web.post("/tasks/{id}/cancel", self.cancel),
            web.post("/tasks/{id}/retry", self.retry),
        ]

    async def show(self, request: web.Request) -> web.Response:
        task_id = request.match_info["id"]
        return json_answer(shown_task(await self._queues.of(task_id).get(task_id)))

    async def list(self, request: web.Request) -> web.Response:
        """A page of one queue, newest first."""
        served = self._queues.chosen(request.query.get("queue"))
        limit, cursor = limit_of(request), request.query.get("cursor")
        if cursor is not None and queue_of(cursor) != served.name:
            raise wrong_cursor()
        page = await served.queue.page(limit, cursor)
        tasks = [shown_task(task) for task in page.tasks]
        return json_answer({"tasks": tasks, "count": page.count, "limit": limit, "next": page.next})

    async def cancel(self, request: web.Request) -> web.Response:
        """200 cancelled; 202 its worker was asked to stop it; 409 it has ended already."""
        task_id = request.match_info["id"]
        (status,) = await self._queues.of(task_id).cancel([task_id])
        if status in (Status.COMPLETED, Status.FAILED):
            raise WrongStateError(f"the task is {status} already")
        return json_answer(_found(task_id, status), 202 if status == "cancelling" else 200)

    async def retry(self, request: web.Request) -> web.Response:
        """200 queued again, all its attempts before it; 409 unless it failed or was cancelled."""
        task_id = request.match_info["id"]
        queue = self._queues.of(task_id)
        before = (await queue.get(task_id)).status
        if before not in ENDED_BADLY:
            raise WrongStateError(f"the task is {before}: only a failed or cancelled one can be retried")
        (status,) = await queue.redrive([task_id])
        return json_answer(_found(task_id, status))

    async def remove(self, request: web.Request) -> web.Response:
        """204 it is gone; 202 its worker was asked to stop it, then it goes."""
        task_id = request.match_info["id"]
        (word,) = await self._queues.of(task_id).purge([task_id])
        shown = _found(task_id, word)
        return json_answer(shown, 202) if word == "purging" else web.Response(status=204)

    async def remove_of_recipient(self, request: web.Request) -> web.Response:
        """How many tasks of this recipient are gone, in all queues or in one; O(n)."""
        recipient = request.query.get("recipient", "")
        if not recipient:
            raise InvalidTaskError([FieldError("recipient", "is missing: whose tasks are to be removed")])
        chosen = request.query.get("queue")
        purged = purging = 0
        for served in self._queues if chosen is None else [self._queues.chosen(chosen)]:
            done = await purge_recipient(served.queue, recipient)
            purged += done.purged
            purging += done.purging
        return json_answer({"purged": purged, "purging": purging})


def _found(task_id: str, status: str) -> dict[str, str]:
    """The answer to a change of one task; TaskNotFoundError if there was none."""
    if not status:
        raise TaskNotFoundError(f"no task has the id {task_id}")
    return {"task_id": task_id, "status": status}
