"""How an attempt ended, as an outcome: whatever a handler does, there is exactly one, and no place dies."""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from taskqueue.decoding import decoder
from taskqueue.model import MICROSECOND, Outcome
from taskqueue.states import Status
from worker.attempt import MAX_DELAY_S, Attempts
from worker.context import MAX_PROGRESS_BYTES, Stop, TaskContext
from worker.errors import LeaseLostError, RetryError
from worker.registry import TaskType, task
from worker.threads import in_thread

from tests.fixtures.leases import lease


class Empty(msgspec.Struct):
    note: str = ""


Handler = Callable[[Any, TaskContext[None]], Awaitable[Any]]


def attempts(handler: Handler, **more: Any) -> Attempts:
    settings: dict[str, Any] = {"max_attempts": 5, **more}
    kind = TaskType(name="t", payload=Empty, decode=decoder(Empty), run=handler, **settings)
    return Attempts({"t": kind}, {}, 100)


async def outcome_of(handler: Handler, *, attempt: int = 1, options: bytes = b"", **more: Any) -> Outcome:
    outcome = await attempts(handler, **more).run(lease("t", attempt=attempt, options=options))
    assert outcome is not None
    return outcome


def raising(error: BaseException) -> Handler:
    async def handler(_payload: Empty, _context: TaskContext[None]) -> None:
        raise error

    return handler


def returning(value: object) -> Handler:
    async def handler(_payload: Empty, _context: TaskContext[None]) -> object:
        return value

    return handler


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError("not even a message")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("broken"), "broken"),
        (RuntimeError(), "RuntimeError"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "nobody had asked"),
        (BaseExceptionGroup("both", [SystemExit(1)]), "both"),
        (RuntimeError("half a character \udc80"), "half a character ?"),
        (UnspeakableError(), "UnspeakableError"),
    ],
    ids=lambda x: type(x).__name__,
)
async def test_whatever_a_handler_raises_is_an_attempt_that_failed(error: BaseException, words: str) -> None:
    outcome = await outcome_of(raising(error))
    assert outcome.status is Status.SCHEDULED
    assert words in msgspec.json.decode(outcome.result)["error"]


def leaving(_payload: Empty, _context: TaskContext[None]) -> None:
    sys.exit(1)


async def test_sys_exit_in_a_thread_fails_the_attempt_alone() -> None:
    outcome = await outcome_of(in_thread(leaving))
    assert outcome.status is Status.SCHEDULED


async def test_a_cancellation_of_something_that_the_handler_awaits_is_its_own_failure() -> None:
    async def handler(_payload: Empty, _context: TaskContext[None]) -> None:
        inner = asyncio.create_task(asyncio.sleep(3600))
        inner.cancel()
        await inner

    assert (await outcome_of(handler)).status is Status.SCHEDULED


@pytest.mark.parametrize(
    ("delay_s", "kept_s"), [(float("inf"), MAX_DELAY_S), (float("nan"), 0), (-5.0, 0), (1.5, 1.5)]
)
async def test_a_delay_that_makes_no_sense_is_bounded(delay_s: float, kept_s: float) -> None:
    outcome = await outcome_of(raising(RetryError("later", delay_s)))
    assert outcome.retry_in_us == kept_s * MICROSECOND


@pytest.mark.parametrize(
    ("value", "said"), [("x" * 200, "202 bytes"), (object(), "JSON"), ("\udc80", "JSON")]
)
async def test_a_result_that_cannot_be_kept_is_left_out_as_the_work_is_done(value: object, said: str) -> None:
    outcome = await outcome_of(returning(value))
    assert outcome.status is Status.COMPLETED
    assert said in msgspec.json.decode(outcome.result)["omitted"]


async def test_limits_of_a_task_replace_those_of_its_type() -> None:
    kind = attempts(returning(None), time_limit_s=10, heartbeat_s=3)
    assert kind.limits(lease("t")) == (10, 3)
    assert kind.limits(lease("t", options=b'{"time_limit_s":2}')) == (2, 3)
    assert kind.limits(lease("unknown")) == (None, None)
    for own, attempt, status in (
        (b'{"max_attempts":7}', 5, Status.SCHEDULED),
        (b'{"max_attempts":1}', 1, Status.FAILED),
    ):
        outcome = await outcome_of(raising(RuntimeError()), attempt=attempt, options=own)
        assert outcome.status is status


async def test_options_of_another_version_do_no_harm() -> None:
    kind = attempts(raising(RuntimeError("broken")), time_limit_s=10)
    for options in (b'{"max_attempts":"many"}', b"not JSON", b'{"later":1}'):
        one = lease("t", options=options)
        assert kind.limits(one) == (10, None)
        outcome = await kind.run(one)
        assert outcome is not None
        assert outcome.status is Status.SCHEDULED


async def test_a_type_that_runs_at_most_once_is_not_retried() -> None:
    for error in (RuntimeError("broken"), RetryError("later", 1, counts=False), SystemExit(0)):
        outcome = await outcome_of(raising(error), at_most_once=True)
        assert outcome.status is Status.FAILED


@pytest.mark.parametrize(
    ("why", "status"),
    [
        (Stop.ASKED, Status.CANCELLED),
        (Stop.TIME_LIMIT, Status.SCHEDULED),
        (Stop.NO_HEARTBEAT, Status.SCHEDULED),
        (Stop.LEASE_LOST, None),
    ],
)
async def test_an_attempt_that_was_stopped_ends_by_the_reason(why: Stop, status: Status | None) -> None:
    one = lease("t")
    running = asyncio.create_task(attempts(lambda _p, _c: asyncio.sleep(3600)).run(one))
    await asyncio.sleep(0)
    one.stop = why
    running.cancel()
    outcome = await running
    assert (outcome and outcome.status) == status


async def test_when_the_worker_ends_nothing_is_told_as_the_task_is_handed_back() -> None:
    one = lease("t")
    running = asyncio.create_task(attempts(lambda _p, _c: asyncio.sleep(3600)).run(one))
    await asyncio.sleep(0)
    one.stop = Stop.WORKER_ENDS
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(LeaseLostError):
        TaskContext(one, None).ensure_lease()


async def test_a_stopped_thread_is_waited_for_and_what_it_returns_then_is_not_a_completion() -> None:
    began, ended = threading.Event(), threading.Event()

    def handler(_payload: Empty, context: TaskContext[None]) -> str:
        began.set()
        while not context.stopping:
            threading.Event().wait(0.005)
        ended.set()
        return "gave up"

    one = lease("t")
    running = asyncio.create_task(attempts(in_thread(handler)).run(one))
    await asyncio.to_thread(began.wait, 5)
    running.cancel()
    await asyncio.sleep(0.02)
    assert not running.done(), "a second attempt must not run beside the first"
    one.stop = Stop.ASKED
    outcome = await running
    assert ended.is_set()
    assert outcome is not None
    assert outcome.status is Status.CANCELLED


async def test_more_threads_run_at_a_time_than_a_pool_would_have() -> None:
    together = threading.Barrier(50, timeout=5)

    def wait(_payload: None, _context: None) -> int:
        return together.wait()

    handler = in_thread(wait)
    assert sorted(await asyncio.gather(*(handler(None, None) for _ in range(50)))) == list(range(50))


async def test_a_coroutine_behind_a_plain_function_is_run() -> None:
    def hidden(_payload: None, _context: None) -> Awaitable[str]:
        return asyncio.sleep(0, "done")

    assert await in_thread(hidden)(None, None) == "done"


def test_progress_is_a_heartbeat_and_bounded() -> None:
    context = TaskContext(one := lease("t"), None)
    context.progress({"done": 0.5})
    assert (one.progress, one.beat > 0) == (b'{"done":0.5}', True)
    with pytest.raises(ValueError, match=str(MAX_PROGRESS_BYTES)):
        context.progress("x" * MAX_PROGRESS_BYTES)


class Needy(msgspec.Struct):
    name: str


@pytest.mark.parametrize("cron", ["", "@daily", "61 * * * *", "0 0 30 2 *", "* * * * * *"])
def test_a_wrong_cron_is_told_at_registration(cron: str) -> None:
    async def handler(payload: Empty, context: TaskContext[None]) -> None: ...

    with pytest.raises(ValueError, match="five cron fields"):
        task("wrong-cron", cron=cron)(handler)


def test_a_periodic_type_needs_defaults_for_all_of_its_payload() -> None:
    async def handler(payload: Needy, context: TaskContext[None]) -> None: ...

    with pytest.raises(TypeError, match="needs a default"):
        task("needy", cron="* * * * *")(handler)
