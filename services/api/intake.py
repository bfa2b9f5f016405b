"""Turns what a client sent into a task to store, or says everything that is wrong with it."""

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from jsonschema import Draft202012Validator
from taskqueue.batcher import EnqueueBatcher
from taskqueue.decoding import decoder
from taskqueue.errors import FieldError, InvalidTaskError
from taskqueue.ids import new_id
from taskqueue.model import MICROSECOND, NewTask
from taskqueue.payloads.email import EmailPayload
from taskqueue.states import Status

from api.bodies import BodyDecoder
from api.envelope import BatchItem, Durability, TaskBody
from api.idempotency import HEADER, ITEM_FIELD, IdempotencyKey, idempotency_key
from api.served import Served, ServedQueues

SCHEMA_AGE_S = 5.0
"""How long a published schema is used before it is read again: a worker may bring a newer one."""
_check_email = decoder(EmailPayload)


def now_us() -> int:
    """Microseconds since 1970 by this machine's clock."""
    return int(time.time() * MICROSECOND)


class Submission(NamedTuple):
    """A task that may be stored, where, and the status that it begins with."""

    served: Served
    task: NewTask
    status: Status
    durable: bool = False

    @property
    def batcher(self) -> EnqueueBatcher:
        """What stores it."""
        return self.served.durable_batcher if self.durable else self.served.batcher


class Intake:
    """Checks bodies: `email` by its own rules, other types by the schema their workers published."""

    def __init__(
        self, queues: ServedQueues, durability: Durability, clock_us: Callable[[], int] = now_us
    ) -> None:
        self._queues = queues
        self._durability = durability
        self._clock_us = clock_us
        self._bodies = BodyDecoder(TaskBody)
        self._items = BodyDecoder(BatchItem)
        self._validators: dict[tuple[str, str], tuple[float, Draft202012Validator]] = {}

    async def task(self, body: bytes, key: str | None) -> Submission:
        """The task of a POST, with a fresh id; raises InvalidJsonError or InvalidTaskError."""
        sent = self._bodies.read(body)
        return await self._submission(sent, None if key is None else idempotency_key(key, body, HEADER))

    async def item(self, body: msgspec.Raw) -> Submission:
        """The same for one item of a batch."""
        sent = self._items.read(body)
        key = sent.idempotency_key
        return await self._submission(sent, None if key is None else idempotency_key(key, body, ITEM_FIELD))

    async def _submission(self, sent: TaskBody, key: IdempotencyKey | None) -> Submission:
        now = self._clock_us()
        faults = sent.faults(now)
        served, data = self._queues.first, bytes(sent.data)
        try:
            served = self._queues.chosen(sent.queue)
            if sent.type == "email":
                _check_email(data)
            else:
                await self._check_published(served, sent.type, data)
        except InvalidTaskError as error:
            faults += error.fields
        if faults:
            raise InvalidTaskError(faults)
        durable = (sent.durability or self._durability) is Durability.FSYNC
        if durable:
            await self._queues.check_durable()
        task = NewTask(new_id(served.name), sent.type, data, sent.extras(key))
        return Submission(served, task, Status.SCHEDULED if sent.put_off(now) else Status.QUEUED, durable)

    async def _check_published(self, served: Served, kind: str, data: bytes) -> None:
        validator = await self._validator(served, kind)
        faults = [
            FieldError(".".join(["data", *map(str, error.absolute_path)]), error.message)
            for error in validator.iter_errors(msgspec.json.decode(data))  # pyright: ignore[reportUnknownMemberType]
        ]
        if faults:
            raise InvalidTaskError(faults)

    async def _validator(self, served: Served, kind: str) -> Draft202012Validator:
        made, validator = self._validators.get((served.name, kind), (0.0, None))
        if validator is not None and time.monotonic() - made < SCHEMA_AGE_S:
            return validator
        schema = await served.catalog.schema(kind)
        if schema is None:
            known = ", ".join(sorted({"email", *await served.catalog.names()}))
            raise InvalidTaskError([FieldError("type", f"is not served by any worker; known: {known}")])
        validator = Draft202012Validator(msgspec.json.decode(schema))
        self._validators[served.name, kind] = (time.monotonic(), validator)
        return validator
