"""What goes into the queue and what comes out of it, as immutable values."""

from datetime import UTC, datetime

import msgspec

from taskqueue.states import Status

MICROSECOND = 1_000_000
"""Times and spans are whole microseconds on the wire to Redis (its TIME has no finer unit)."""


class NewTask(msgspec.Struct, frozen=True):
    """A task to store: `data` is the payload as JSON, already validated."""

    id: str
    type: str
    data: bytes


class Claim(msgspec.Struct, frozen=True):
    """A task that this worker holds until its lease ends. `epoch` fences every later report."""

    id: str
    epoch: int
    type: str
    data: bytes
    created_us: int
    attempt: int


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended: completed, failed for good, or scheduled to run again in `retry_in_us`.

    An attempt that does not count (the trouble was not the task's) is taken off `attempts` again.
    """

    id: str
    epoch: int
    status: Status
    result: bytes = b""
    retry_in_us: int = 0
    counts: bool = True


class ClaimReply(msgspec.Struct, frozen=True):
    """`lost`: ids whose outcome was refused because another worker holds, or held, the task."""

    lost: list[str]
    claims: list[Claim]


class ReapReply(msgspec.Struct, frozen=True):
    """`next_due_us` is the time until the next lease or delay ends; None when there is none."""

    taken_back: list[str]
    more: bool
    next_due_us: int | None


class StoredTask(msgspec.Struct, frozen=True):
    """A task as Redis holds it."""

    id: str
    type: str
    status: Status
    created_us: int
    attempts: int
    data: bytes
    updated_us: int | None = None
    result: bytes | None = None


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
    stored: int
    workers: int
    totals: dict[str, int]


def rfc3339(time_us: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC, always with six decimals and Z."""
    seconds, micros = divmod(time_us, MICROSECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"
