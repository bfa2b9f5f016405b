"""What a client may send of a task beside its payload: the fields, their ranges, and what is wrong."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import msgspec
from taskqueue.errors import FieldError
from taskqueue.model import IDEMPOTENCY_TTL_US, MICROSECOND, Extra, Options, Priority

from api.idempotency import IdempotencyKey

MAX_DELAY_S = 365 * 86_400
"""A task put off for longer than a year is a mistake of units more often than a plan."""
MAX_ATTEMPTS = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Durability(StrEnum):
    """When a task counts as accepted: once Redis holds it, or once Redis has it on disk."""

    MEMORY = "memory"
    FSYNC = "fsync"


class TaskBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One task as a client sends it. `null` is the same as a field left out."""

    type: str
    data: msgspec.Raw
    queue: str | None = None
    priority: Priority | None = None
    run_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    delay_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_DELAY_S)] | None = None
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=MAX_ATTEMPTS)] | None = None
    time_limit_s: Annotated[float, msgspec.Meta(gt=0, le=MAX_DELAY_S)] | None = None
    durability: Durability | None = None

    def faults(self, now_us: int) -> list[FieldError]:
        """All that is wrong beyond the types of the fields."""
        if self.run_at is None:
            return []
        faults: list[FieldError] = []
        if self.delay_s is not None:
            faults.append(FieldError("delay_s", "must not stand beside run_at: give one of the two"))
        if microseconds(self.run_at) - now_us > MAX_DELAY_S * MICROSECOND:
            faults.append(FieldError("run_at", "must be within a year from now"))
        return faults

    def put_off(self, now_us: int) -> bool:
        """Whether the task is not to run at once."""
        return bool(self.delay_s) or (self.run_at is not None and microseconds(self.run_at) > now_us)

    def extras(self, key: IdempotencyKey | None) -> Extra | None:
        """What the queue is to know of the task beside its payload; None for a task with nothing of it."""
        options = None
        if self.max_attempts is not None or self.time_limit_s is not None:
            options = msgspec.json.encode(Options(self.max_attempts, self.time_limit_s)).decode()
        urgency = None if self.priority in (None, Priority.NORMAL) else self.priority.level
        if not (key or options or self.run_at or self.delay_s or urgency is not None):
            return None
        return Extra(
            priority=urgency,
            options=options,
            due_us=None if self.run_at is None else microseconds(self.run_at),
            delay_us=int(self.delay_s * MICROSECOND) if self.delay_s else None,
            key=key and key.key,
            body=key and key.body,
            ttl_us=IDEMPOTENCY_TTL_US if key else None,
        )


class BatchItem(TaskBody, frozen=True, forbid_unknown_fields=True):
    """One task of a batch, which brings its own idempotency key."""

    idempotency_key: str | None = None


def microseconds(time: datetime) -> int:
    """Since 1970; exact, as a float of seconds is not."""
    return (time - _EPOCH) // timedelta(microseconds=1)
