"""What a handler knows of the task it runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, TypeVar

import msgspec
import structlog
from taskqueue.model import Claim, Outcome

from worker.errors import LeaseLostError

R = TypeVar("R")
MAX_PROGRESS_BYTES = 1024
_log = structlog.get_logger("worker")


class Stop(Enum):
    """Why a handler is stopped before it has ended by itself."""

    LEASE_LOST = auto()
    TIME_LIMIT = auto()
    NO_HEARTBEAT = auto()
    ASKED = auto()
    WORKER_ENDS = auto()

    @property
    def ends_lease(self) -> bool:
        """Whether another worker may run the task from now on."""
        return self in (Stop.LEASE_LOST, Stop.WORKER_ENDS)


@dataclass(slots=True, eq=False)
class Lease:
    """A claim and until when it holds, on this process' own monotonic clock.

    The deadline is counted from before the claim (or renewal) was sent, so it always ends before
    Redis' own, whatever the network did. `began` is None until its handler was called; `beat` is
    when the handler last gave a sign of life; `progress` is what was not yet sent of it (JSON).
    `report` takes what became of it; None when nothing may be told.
    """

    claim: Claim
    deadline: float
    report: Callable[["Lease", Outcome | None], None] | None = None
    stop: Stop | None = None
    began: float | None = None
    beat: float = 0.0
    progress: bytes | None = None

    @property
    def held(self) -> bool:
        if self.stop is not None and self.stop.ends_lease:
            return False
        return time.monotonic() < self.deadline


class TaskContext(Generic[R]):
    """Handed to each handler beside its payload. `resource` is what its type opened at start."""

    __slots__ = ("lease", "resource")

    def __init__(self, lease: Lease, resource: R) -> None:
        self.lease = lease
        self.resource = resource

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A log whose lines carry the task's id, type and attempt."""
        claim = self.lease.claim
        return _log.bind(task_id=claim.id, type=claim.type, attempt=claim.attempt)

    @property
    def task_id(self) -> str:
        return self.lease.claim.id

    @property
    def attempt(self) -> int:
        """1 for the first."""
        return self.lease.claim.attempt

    @property
    def created_us(self) -> int:
        """When the task was accepted, in microseconds since 1970."""
        return self.lease.claim.created_us

    @property
    def stopping(self) -> bool:
        """Whether this attempt should end: cancelled, over its time, its lease lost, or its worker ends.

        A coroutine gets CancelledError as well; a handler in a thread has to look here. How it ends
        after that does not matter: the attempt counts as stopped.
        """
        return self.lease.stop is not None

    def ensure_lease(self) -> None:
        """Call right before a step with an effect outside; raises LeaseLostError past the deadline."""
        if not self.lease.held:
            raise LeaseLostError("the lease is over: another worker may run this task")

    def heartbeat(self) -> None:
        """A sign of life, for types with `heartbeat_s`."""
        self.lease.beat = time.monotonic()

    def progress(self, value: Any) -> None:
        """Shows `value` (what JSON can hold, at most 1 KiB) as the task's progress; a heartbeat too.

        Sent to Redis within a second; the latest value wins. Raises ValueError if it is too large.
        """
        encoded = msgspec.json.encode(value)
        if len(encoded) > MAX_PROGRESS_BYTES:
            raise ValueError(f"progress of {len(encoded)} bytes: at most {MAX_PROGRESS_BYTES} are kept")
        self.lease.progress = encoded
        self.heartbeat()
