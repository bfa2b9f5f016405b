"""What a handler knows of the task it runs."""

import time
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from taskqueue.model import Claim

from worker.errors import LeaseLostError

R = TypeVar("R")


@dataclass(slots=True, eq=False)
class Lease:
    """A claim and until when it holds, on this process' own monotonic clock.

    The deadline is counted from before the claim (or renewal) was sent, so it always ends before
    Redis' own, whatever the network did.
    """

    claim: Claim
    deadline: float
    lost: bool = False

    @property
    def held(self) -> bool:
        return not self.lost and time.monotonic() < self.deadline


@dataclass(frozen=True, slots=True)
class TaskContext(Generic[R]):
    """Handed to each handler beside its payload. `resource` is what its type opened at start."""

    lease: Lease
    resource: R
    log: structlog.typing.FilteringBoundLogger

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

    def ensure_lease(self) -> None:
        """Call right before a step with an effect outside; raises LeaseLostError past the deadline."""
        if not self.lease.held:
            raise LeaseLostError("the lease is over: another worker may run this task")
