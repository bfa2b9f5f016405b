"""The states of a task and which may follow which."""

from enum import StrEnum


class Status(StrEnum):
    """What a client sees of a task's progress."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SCHEDULED = "scheduled"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to the task by itself."""
        return self in FINISHED


FINISHED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.PROCESSING, Status.CANCELLED, Status.SCHEDULED}),
    Status.PROCESSING: frozenset(
        {Status.COMPLETED, Status.FAILED, Status.SCHEDULED, Status.QUEUED, Status.CANCELLED}
    ),
    Status.SCHEDULED: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset({Status.QUEUED}),
}
"""Every legal change. The Lua scripts make them; the tests hold the scripts to this table.

queued -> scheduled only for a task of a later form than the worker's scripts know; failed and
cancelled -> queued only by a redrive.
"""
