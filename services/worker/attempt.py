"""Runs one attempt of one task and turns how it ended into an outcome."""

import random
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from taskqueue.decoding import decode
from taskqueue.errors import InvalidTaskError
from taskqueue.model import MICROSECOND, Outcome
from taskqueue.states import Status

from worker.context import Lease, TaskContext
from worker.errors import LeaseLostError, PermanentError, RetryError
from worker.registry import TaskType

BACKOFF_BASE_S = 2.0
BACKOFF_CAP_S = 300.0
UNKNOWN_TYPE_ATTEMPTS = 5
_log = structlog.get_logger("worker")


def backoff_s(attempt: int) -> float:
    """Exponential with full jitter: uniform between 0 and 2, 4, 8 ... 300 s.

    Full jitter spreads retries best (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """
    return random.uniform(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** (attempt - 1)))  # noqa: S311


async def run_attempt(
    types: Mapping[str, TaskType], resources: Mapping[str, Any], lease: Lease
) -> Outcome | None:
    """The outcome of one attempt; None when the lease was lost, as then nothing may be reported."""
    claim = lease.claim
    log = _log.bind(task_id=claim.id, type=claim.type, attempt=claim.attempt)
    kind = types.get(claim.type)
    limit = UNKNOWN_TYPE_ATTEMPTS if kind is None else kind.max_attempts
    try:
        if kind is None:  # a newer worker may serve it: a rolling update is under way
            raise RetryError(f"this worker does not serve the type {claim.type!r}")
        payload = decode(claim.data, kind.payload)
        context = TaskContext(lease, resources.get(claim.type), log)
        result = msgspec.json.encode(await kind.run(payload, context))
    except LeaseLostError:
        log.warning("lease lost, attempt dropped")
        return None
    except (PermanentError, InvalidTaskError) as error:
        log.warning("task failed for good", error=str(error))
        return _ended(lease, Status.FAILED, error)
    except Exception as error:
        known = error if isinstance(error, RetryError) else RetryError(str(error))
        if known.counts and claim.attempt >= limit:
            log.error("task failed, attempts used up", error=str(error), exc_info=known is not error)
            return _ended(lease, Status.FAILED, error)
        delay_s = backoff_s(claim.attempt) if known.delay_s is None else known.delay_s
        log.warning(
            "attempt failed", error=str(error), retry_in_s=round(delay_s, 3), exc_info=known is not error
        )
        return _ended(lease, Status.SCHEDULED, error, delay_s, counts=known.counts)
    return Outcome(claim.id, claim.epoch, Status.COMPLETED, result)


def _ended(
    lease: Lease, status: Status, error: Exception, delay_s: float = 0.0, *, counts: bool = True
) -> Outcome:
    result = {"error": str(error) or type(error).__name__, "attempts": lease.claim.attempt}
    return Outcome(
        lease.claim.id,
        lease.claim.epoch,
        status,
        msgspec.json.encode(result),
        int(delay_s * MICROSECOND),
        counts,
    )
