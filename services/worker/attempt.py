"""Runs one attempt of one task and turns how it ended into an outcome."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from taskqueue.errors import InvalidTaskError
from taskqueue.model import MICROSECOND, Options, Outcome
from taskqueue.states import Status

from worker.context import Lease, Stop, TaskContext
from worker.errors import LeaseLostError, PermanentError, RetryError
from worker.registry import TaskType

BACKOFF_BASE_S = 2.0
BACKOFF_CAP_S = 300.0
UNKNOWN_TYPE_ATTEMPTS = 5
MAX_REASON_CHARS = 1000
MAX_DELAY_S = 365 * 86_400.0
_STOPPED = {
    Stop.TIME_LIMIT: "the attempt took longer than its time limit",
    Stop.NO_HEARTBEAT: "the handler gave no sign of life for longer than its heartbeat_s",
}
_log = structlog.get_logger("worker")
_encode = msgspec.json.Encoder().encode
_decode_options = msgspec.json.Decoder(Options).decode


def backoff_s(attempt: int) -> float:
    """Exponential with full jitter: uniform between 0 and 2, 4, 8 ... 300 s.

    Full jitter spreads retries best (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """
    doublings = min(attempt - 1, 16)  # past the cap long before; 2 ** 1100 is no float any more
    return random.uniform(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**doublings))  # noqa: S311


class Attempts:
    """Runs attempts of the types that this worker serves; `max_result_bytes` is what a result may have."""

    def __init__(
        self, types: Mapping[str, TaskType], resources: Mapping[str, Any], max_result_bytes: int
    ) -> None:
        self._types = types
        self._resources = resources
        self._max_result_bytes = max_result_bytes

    def limits(self, lease: Lease) -> tuple[float | None, float | None]:
        """Seconds that an attempt may take, and may be silent; None for no limit."""
        kind = self._types.get(lease.claim.type)
        if kind is None:
            return None, None
        return _options(lease).time_limit_s or kind.time_limit_s, kind.heartbeat_s

    async def run(self, lease: Lease) -> Outcome | None:
        """The outcome of one attempt; None when the lease was lost, as then nothing may be reported.

        Raises CancelledError only where the worker ends before its handler: the task is handed back.
        """
        claim = lease.claim
        kind = self._types.get(claim.type)
        try:
            if kind is None:  # a newer worker may serve it: a rolling update is under way
                raise RetryError(f"this worker does not serve the type {claim.type!r}")
            payload = kind.decode(claim.data)
            result = await kind.run(payload, TaskContext(lease, self._resources.get(claim.type)))
        except GeneratorExit:
            raise
        except BaseException as error:
            # Of every kind: a handler's sys.exit() ends its attempt, not the worker with all that it holds.
            if lease.stop is None:
                return _failed(lease, kind, error)
            if lease.stop is Stop.WORKER_ENDS:
                raise asyncio.CancelledError from error
            return _stopped(lease, kind)
        return Outcome(claim.id, claim.epoch, Status.COMPLETED, self._kept(lease, result))

    def _kept(self, lease: Lease, result: Any) -> bytes:
        """The task has done its work, so it is complete: a result that cannot be kept is left out."""
        limit = self._max_result_bytes
        try:
            encoded = _encode(result)
        except Exception as error:  # what encoders of the handler's own objects raise is theirs to choose
            why = f"it cannot be written as JSON ({_words(error)[:MAX_REASON_CHARS]})"
        else:
            if len(encoded) <= limit:
                return encoded
            why = f"it has {len(encoded)} bytes, and at most {limit} are kept"
        _bound(lease).warning("result left out", reason=why)
        return _encode({"omitted": f"the result was left out: {why}"})


def _bound(lease: Lease) -> structlog.typing.FilteringBoundLogger:
    claim = lease.claim
    return _log.bind(task_id=claim.id, type=claim.type, attempt=claim.attempt)


def _stopped(lease: Lease, kind: TaskType | None) -> Outcome | None:
    if lease.stop is Stop.ASKED:
        _bound(lease).info("cancelled")
        return ended(lease, Status.CANCELLED, "cancelled")
    if lease.stop in _STOPPED:
        return _failed(lease, kind, RetryError(_STOPPED[lease.stop]))
    _bound(lease).warning("lease lost, attempt dropped")
    return None


def _failed(lease: Lease, kind: TaskType | None, error: BaseException) -> Outcome | None:
    log = _bound(lease)
    if isinstance(error, LeaseLostError):
        log.warning("lease lost, attempt dropped")
        return None
    words = _words(error)
    if isinstance(error, (PermanentError, InvalidTaskError)):
        log.warning("task failed for good", error=words)
        return ended(lease, Status.FAILED, words)
    known = error if isinstance(error, RetryError) else RetryError(words)
    unexpected = known is not error
    if kind is not None and kind.at_most_once:
        log.error("task failed, its type runs at most once", error=words, exc_info=unexpected)
        return ended(lease, Status.FAILED, words)
    if known.counts and lease.claim.attempt >= _attempts_limit(lease, kind):
        log.error("task failed, attempts used up", error=words, exc_info=unexpected)
        return ended(lease, Status.FAILED, words)
    delay_s = backoff_s(lease.claim.attempt) if known.delay_s is None else known.delay_s
    log.warning("attempt failed", error=words, retry_in_s=round(delay_s, 3), exc_info=unexpected)
    return ended(lease, Status.SCHEDULED, words, delay_s, counts=known.counts)


def _attempts_limit(lease: Lease, kind: TaskType | None) -> int:
    return _options(lease).max_attempts or (UNKNOWN_TYPE_ATTEMPTS if kind is None else kind.max_attempts)


def _options(lease: Lease) -> Options:
    """Those of the task; none where another version wrote what this one cannot read."""
    try:
        return _decode_options(lease.claim.options) if lease.claim.options else Options()
    except msgspec.DecodeError:
        return Options()


def _words(error: BaseException) -> str:
    """What is told of an error. A handler's own may hold anything, so this never raises."""
    try:
        said = str(error).encode(errors="replace").decode()
    except Exception:
        said = ""
    name = type(error).__name__
    if isinstance(error, asyncio.CancelledError):
        return "the handler raised CancelledError, and nobody had asked it to stop"
    return said if said and isinstance(error, Exception) else f"{name}: {said}".removesuffix(": ")


def _delay_us(delay_s: float) -> int:
    """Within 0 and a year, whatever a handler asked for."""
    if not 0 <= delay_s <= MAX_DELAY_S:
        delay_s = MAX_DELAY_S if delay_s > 0 else 0.0
    return int(delay_s * MICROSECOND)


def ended(lease: Lease, status: Status, words: str, delay_s: float = 0.0, *, counts: bool = True) -> Outcome:
    """An outcome other than completion, with the reason that the history keeps."""
    claim = lease.claim
    result = _encode({"error": words[:MAX_REASON_CHARS], "attempts": claim.attempt})
    return Outcome(claim.id, claim.epoch, status, result, _delay_us(delay_s), counts)
