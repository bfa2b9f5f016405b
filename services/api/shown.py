"""What clients see of tasks, queues and workers: stored values as JSON objects."""

from datetime import datetime
from typing import Any

import msgspec
from taskqueue.ids import queue_of
from taskqueue.model import MICROSECOND, Attempt, Priority, Stats, StoredTask, WorkerRecord, rfc3339
from taskqueue.states import Status

_ABOUT = ("pod", "node", "version", "concurrency", "running", "tasks", "queues", "types", "stopping")


def shown_task(task: StoredTask) -> dict[str, Any]:
    """A task. What does not apply to it is left out."""
    shown: dict[str, Any] = {
        "id": task.id,
        "type": task.type,
        "status": task.status,
        "created_at": rfc3339(task.created_us),
        "data": msgspec.Raw(task.data),
        "attempts": task.attempts,
        "queue": queue_of(task.id),
    }
    if task.updated_us is not None:
        shown["updated_at"] = rfc3339(task.updated_us)
    if task.result is not None:
        shown["result"] = msgspec.Raw(task.result)
    if task.priority is not Priority.NORMAL:
        shown["priority"] = task.priority
    if task.due_us is not None:
        shown["run_at"] = rfc3339(task.due_us)
    if task.worker is not None:
        shown["worker"] = task.worker
    if task.progress is not None:
        shown["progress"] = msgspec.Raw(task.progress)
    if task.cancelling:
        shown["cancelling"] = True
    if task.kills:
        shown["kills"] = task.kills
    if task.history:
        shown["history"] = [_attempt(attempt) for attempt in task.history]
    return shown


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.attempt,
        "worker": attempt.worker,
        "began_at": None if attempt.began_us is None else rfc3339(attempt.began_us),
        "ended_at": rfc3339(attempt.ended_us),
        "outcome": attempt.outcome,
        "reason": msgspec.Raw(attempt.reason),
    }


def shown_stats(stats: Stats) -> dict[str, Any]:
    """The sizes of a queue's places, and its totals."""
    return {
        "queue_length": stats.queued,
        "total_tasks": stats.stored,
        Status.QUEUED: stats.queued,
        Status.PROCESSING: stats.processing,
        Status.SCHEDULED: stats.scheduled,
        Status.COMPLETED: stats.completed,
        Status.FAILED: stats.failed,
        Status.CANCELLED: stats.cancelled,
        "paused": stats.paused,
        "workers": stats.workers,
        "totals": stats.totals,
    }


def shown_worker(record: WorkerRecord) -> dict[str, Any]:
    """A worker, by what it last told; one that has not told anything yet has but a name and a heartbeat."""
    about = record.about
    shown = {"name": record.name, **{name: about[name] for name in _ABOUT if name in about}}
    if "started_at" in about:
        shown["started_at"] = _uniform(str(about["started_at"]))
    return shown | {"last_heartbeat": rfc3339(record.seen_us)}


def _uniform(time: str) -> str:
    """Another form of RFC 3339 in the one that this API uses."""
    return rfc3339(int(datetime.fromisoformat(time).timestamp() * MICROSECOND))
