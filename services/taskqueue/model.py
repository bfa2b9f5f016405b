"""What goes into the queue and what comes out of it, as immutable values."""

from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any

import msgspec

from taskqueue.states import Status

MICROSECOND = 1_000_000
"""Times and spans are whole microseconds on the wire to Redis (its TIME has no finer unit)."""
IDEMPOTENCY_TTL_US = 86_400 * MICROSECOND
"""How long an idempotency key is remembered: a day, as Stripe's API does."""


class Priority(StrEnum):
    """How urgent a task is; waiting long moves it up."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def level(self) -> int:
        """0 for the highest, as in the keys of the ready lists."""
        return ("high", "normal", "low").index(self.value)


class Extra(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    kw_only=True,
    rename={
        "priority": "p",
        "options": "o",
        "due_us": "at",
        "delay_us": "delay",
        "key": "k",
        "body": "b",
        "ttl_us": "ttl",
    },
):
    """What a task may bring beside its payload; those that bring nothing pay nothing.

    `due_us` counts since 1970, `delay_us` from now. `key` and `body` are hashes without spaces.
    `periodic` is (schedule, due): stored only if that schedule has not fired for that time.
    """

    priority: int | None = None
    options: str | None = None
    due_us: int | None = None
    delay_us: int | None = None
    key: str | None = None
    body: str | None = None
    ttl_us: int | None = None
    periodic: tuple[str, int] | None = None


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits of one task that replace those of its type; the scripts hand them on unread."""

    max_attempts: int | None = None
    time_limit_s: float | None = None


class NewTask(msgspec.Struct, frozen=True):
    """A task to store: `data` is the payload as JSON, already validated."""

    id: str
    type: str
    data: bytes
    extra: Extra | None = None


class Receipt(msgspec.Struct, frozen=True):
    """What became of an enqueue: the id of the task, and whether this very call stored it.

    Another id than was sent is that of the task which the same idempotency key made before.
    """

    task_id: str
    stored: bool


class Claim(msgspec.Struct, frozen=True):
    """A task that this worker holds until its lease ends. `epoch` fences every later report."""

    id: str
    epoch: int
    type: str
    data: bytes
    created_us: int
    attempt: int
    options: bytes = b""


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended: completed, failed for good, cancelled, or scheduled to run again in
    `retry_in_us`. `result` is JSON.

    An attempt that does not count (the trouble was not the task's) is taken off `attempts` again.
    """

    id: str
    epoch: int
    status: Status
    result: bytes = b"null"
    retry_in_us: int = 0
    counts: bool = True


class Next(IntEnum):
    """What a worker is to do after a claim."""

    WAIT = 0  # no task is left
    MORE = 1  # there is more: call again when there is room
    DRAIN = 2  # a suspect waits: finish what is held, and call without anything held
    ALONE = 3  # the one task given is a suspect: run nothing beside it


class ClaimReply(msgspec.Struct, frozen=True):
    """`lost`: ids whose outcome was refused because another worker holds, or held, the task."""

    lost: list[str]
    claims: list[Claim]
    next: Next


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """Retention of one kind of finished task: no longer than `age_us`, no more than `count` (0: any)."""

    age_us: int
    count: int = 0


class Retention(msgspec.Struct, frozen=True):
    """What is kept of finished tasks, by how they ended."""

    completed: Kept
    failed: Kept
    cancelled: Kept

    @classmethod
    def uniform(cls, age_us: int, count: int = 0) -> "Retention":
        """The same for all three."""
        kept = Kept(age_us, count)
        return cls(kept, kept, kept)


class ReapReply(msgspec.Struct, frozen=True):
    """`lapsed`: ids whose worker did not report in time. `asked`: ids in flight, whoever holds them,
    that are to stop. `next_due_us` is the time until the next lease or delay ends, or None.
    """

    lapsed: list[str]
    more: bool
    next_due_us: int | None
    asked: list[str]


class Attempt(msgspec.Struct, frozen=True):
    """One line of a task's history: an attempt that did not complete. `reason` is JSON."""

    attempt: int
    worker: str
    began_us: int | None
    ended_us: int
    outcome: str
    reason: bytes


class StoredTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task as Redis holds it. `due_us` is set while it is scheduled."""

    id: str
    type: str
    status: Status
    created_us: int
    attempts: int
    data: bytes
    updated_us: int | None = None
    result: bytes | None = None
    priority: Priority = Priority.NORMAL
    worker: str | None = None
    progress: bytes | None = None
    due_us: int | None = None
    kills: int = 0
    history: list[Attempt] = []
    cancelling: bool = False


class Page(msgspec.Struct, frozen=True):
    """One page of the listing, newest first. `count` is the size of the store, `next` the cursor."""

    tasks: list[StoredTask]
    count: int
    next: str | None


class Stats(msgspec.Struct, frozen=True):
    """Tasks by state now, and totals since the queue began."""

    queued: int
    processing: int
    scheduled: int
    completed: int
    failed: int
    cancelled: int
    stored: int
    workers: int
    paused: bool
    totals: dict[str, int]


class WorkerRecord(msgspec.Struct, frozen=True):
    """What a worker last told of itself: `about` is JSON, `seen_us` when."""

    name: str
    seen_us: int
    about: dict[str, Any]


def rfc3339(time_us: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC, always with six decimals and Z."""
    seconds, micros = divmod(time_us, MICROSECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"
