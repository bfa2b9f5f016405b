"""The states of a task, and which may follow which."""

from enum import StrEnum


class Status(StrEnum):
    """What a client sees of a task's progress."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SCHEDULED = "scheduled"
    COMPLETED = "completed"
    FAILED = "failed"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.PROCESSING}),
    Status.PROCESSING: frozenset({Status.COMPLETED, Status.FAILED, Status.SCHEDULED, Status.QUEUED}),
    Status.SCHEDULED: frozenset({Status.QUEUED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
}
"""Every legal change. The Lua scripts make them; the tests hold the scripts to this table."""
