"""Every error of the queue, each with a stable code and the HTTP status it answers with."""

from dataclasses import dataclass


class QueueError(Exception):
    """The root: catch this to catch all that the queue raises on purpose."""

    code = "internal"
    http_status = 500


class QueueUnavailableError(QueueError, ConnectionError):
    """Redis did not answer in time; whether the call took effect is unknown until it is repeated."""

    code = "redis_unavailable"
    http_status = 503


class QueueFullError(QueueError):
    """Redis is at, or near, its memory limit: nothing was stored."""

    code = "queue_full"
    http_status = 503


class IdempotencyConflictError(QueueError):
    """This idempotency key came before with another body: nothing was stored."""

    code = "idempotency_conflict"
    http_status = 409


class TaskNotFoundError(QueueError, LookupError):
    """No task has this id (it never had, or its retention has passed)."""

    code = "task_not_found"
    http_status = 404


class UnsuitableRedisError(QueueError):
    """This Redis would lose tasks or cannot run the scripts; the message says what to change."""

    code = "unsuitable_redis"
    http_status = 503


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field: `field` is its dotted path, `message` says what to change."""

    field: str
    message: str


class InvalidTaskError(QueueError, ValueError):
    """A body of the wrong shape; `fields` lists every field at fault."""

    code = "invalid_task"
    http_status = 422

    def __init__(self, fields: list[FieldError]) -> None:
        super().__init__("; ".join(f"{f.field}: {f.message}" for f in fields))
        self.fields = fields
