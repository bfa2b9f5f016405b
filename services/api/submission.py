"""The endpoints that take tasks: one, or up to a thousand at once."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web
from taskqueue.batcher import EnqueueBatcher
from taskqueue.core import SLICE
from taskqueue.errors import FieldError, InvalidTaskError, QueueError
from taskqueue.model import Receipt

from api.admission import Admission
from api.bodies import BodyDecoder, check_media_type
from api.created import CreatedAnswers
from api.idempotency import HEADER
from api.intake import Intake, Submission
from api.problems import described_error, json_answer

MAX_BATCH = 1000
BATCHES_AT_ONCE = 2
"""Bodies of batches are held in memory, three times over while they are decoded."""
BATCH_READ_S = 30.0
_OVERLOADED = (429, 503)


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The items are decoded one by one, as one at fault says nothing of the others."""

    tasks: list[msgspec.Raw]


_batches = BodyDecoder(BatchBody)


class SubmissionEndpoints:
    """POST /tasks, POST /tasks/batch."""

    def __init__(
        self, intake: Intake, admission: Admission, created: CreatedAnswers, max_batch_bytes: int
    ) -> None:
        self._intake = intake
        self._admission = admission
        self._created = created
        self._max_batch_bytes = max_batch_bytes
        self._room = asyncio.Semaphore(BATCHES_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/tasks", self.create), web.post("/tasks/batch", self.create_batch)]

    async def create(self, request: web.Request) -> web.Response:
        """201 once Redis has the task; nothing is stored with any other answer but a lost one."""
        check_media_type(request)
        sent = await self._intake.task(await request.read(), request.headers.get(HEADER))
        task = sent.task
        self._admission.admit(sent.served.name)
        receipt = await sent.batcher.enqueue(task)
        replayed = receipt.task_id != task.id
        return self._created.answer(request, receipt.task_id, sent.status, replayed=replayed)

    async def create_batch(self, request: web.Request) -> web.Response:
        """200 with what became of each task, in their order. Those that were refused change nothing
        for the others. Where none could be taken now, the answer is that of a single task: 429 or 503.
        """
        check_media_type(request)
        async with self._room:
            try:
                async with asyncio.timeout(BATCH_READ_S):
                    body = await request.clone(client_max_size=self._max_batch_bytes).read()
            except TimeoutError:
                raise web.HTTPRequestTimeout(text=f"the body took over {BATCH_READ_S:.0f} s") from None
            items = _batches.read(body).tasks
            if not 1 <= len(items) <= MAX_BATCH:
                raise InvalidTaskError([FieldError("tasks", f"must hold 1 to {MAX_BATCH} tasks")])
            results = await self._store([await self._checked(n, item) for n, item in enumerate(items)])
        accepted = sum(not isinstance(result, QueueError) for result in results)
        if not accepted and isinstance(results[0], QueueError) and results[0].http_status in _OVERLOADED:
            raise results[0]
        shown = [described_error(r) if isinstance(r, QueueError) else r for r in results]
        return json_answer({"results": shown, "accepted": accepted, "refused": len(shown) - accepted})

    async def _checked(self, number: int, item: msgspec.Raw) -> Submission | QueueError:
        if number % SLICE == SLICE - 1:
            await asyncio.sleep(0)  # let other requests have a turn
        try:
            sent = await self._intake.item(item)
            self._admission.admit(sent.served.name)
        except QueueError as error:
            return error
        return sent

    async def _store(self, sent: list[Submission | QueueError]) -> list[dict[str, Any] | QueueError]:
        """What became of each, in their order."""
        by_batcher: dict[EnqueueBatcher, list[int]] = {}
        for number, each in enumerate(sent):
            if isinstance(each, Submission):
                by_batcher.setdefault(each.batcher, []).append(number)
        results: list[dict[str, Any] | QueueError | None] = [
            each if isinstance(each, QueueError) else None for each in sent
        ]
        for batcher, numbers in by_batcher.items():
            mine = [each for each in (sent[n] for n in numbers) if isinstance(each, Submission)]
            receipts = await batcher.enqueue_many([each.task for each in mine])
            for number, each, receipt in zip(numbers, mine, receipts, strict=True):
                results[number] = _result(each, receipt)
        return [result for result in results if result is not None]


def _result(sent: Submission, receipt: Receipt | QueueError) -> dict[str, Any] | QueueError:
    if isinstance(receipt, QueueError):
        return receipt
    shown: dict[str, Any] = {"task_id": receipt.task_id, "status": sent.status}
    return shown | ({"replayed": True} if receipt.task_id != sent.task.id else {})
