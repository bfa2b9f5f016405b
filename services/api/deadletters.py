"""The endpoints about dead letters: tasks that failed for good, and how they are queued again."""

import re
from collections.abc import AsyncGenerator
from typing import Annotated

import msgspec
from aiohttp import web
from taskqueue.core import SLICE
from taskqueue.queue import Queue
from taskqueue.reads import Finished
from taskqueue.states import Status

from api.bodies import BodyDecoder, check_media_type
from api.problems import json_answer
from api.queries import limit_of, wrong_cursor
from api.served import ServedQueues
from api.shown import shown_task

_CURSOR = re.compile(r"(?P<at>\d{1,18})-(?P<id>\S{1,128})")


class RedriveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters: all, those of a type, at most so many; of the first queue unless named."""

    type: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    queue: str | None = None


_bodies = BodyDecoder(RedriveBody)


class DeadLetterEndpoints:
    """GET /dead-letters, POST /dead-letters/redrive."""

    def __init__(self, queues: ServedQueues) -> None:
        self._queues = queues

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/dead-letters", self.list), web.post("/dead-letters/redrive", self.redrive)]

    async def list(self, request: web.Request) -> web.Response:
        """A page of one queue's failed tasks with the reason of each attempt, the oldest failure first."""
        queue = self._queues.chosen(request.query.get("queue")).queue
        limit = limit_of(request)
        found = await queue.finished(Status.FAILED, limit + 1, _cursor(request.query.get("cursor")))
        tasks = await queue.tasks([each.id for each in found[:limit]])
        last = found[limit - 1] if len(found) > limit else None
        return json_answer(
            {
                "tasks": [shown_task(task) for task in tasks],
                "count": await queue.finished_count(Status.FAILED),
                "limit": limit,
                "next": last and f"{last.at_us}-{last.id}",
            }
        )

    async def redrive(self, request: web.Request) -> web.Response:
        """How many were queued again. One that fails again meanwhile is not taken a second time."""
        body = await request.read()
        if body:
            check_media_type(request)
        wanted = _bodies.read(body) if body else RedriveBody()
        queue = self._queues.chosen(wanted.queue).queue
        redriven = 0
        async for ids in _dead(queue, wanted.type):
            rest = ids if wanted.limit is None else ids[: wanted.limit - redriven]
            redriven += (await queue.redrive(rest)).count(Status.QUEUED)
            if redriven == wanted.limit:
                break
        return json_answer({"redriven": redriven})


async def _dead(queue: Queue, kind: str | None) -> AsyncGenerator[list[str]]:
    """Ids of what is dead now, the oldest failure first, a slice at a time."""
    until_us = await queue.now_us()
    after: Finished | None = None
    while found := await queue.finished(Status.FAILED, SLICE, after, until_us):
        ids = [each.id for each in found]
        if kind is not None:
            types = await queue.types(ids)
            ids = [task_id for task_id, of in zip(ids, types, strict=True) if of == kind]
        yield ids
        after = found[-1]


def _cursor(text: str | None) -> Finished | None:
    if text is None:
        return None
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise wrong_cursor()
    return Finished(int(match["at"]), match["id"])
