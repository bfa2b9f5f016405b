"""Attempts in a real worker: their limits, what they tell, and what they leave behind."""

import signal
import time

import msgspec
import pytest
from taskqueue.model import Extra
from taskqueue.queue import Queue
from taskqueue.states import Status

from tests.fixtures.processes import RedisServer, Services, wait_until
from tests.integration.clients import put, reached


def error_of(result: bytes | None) -> str:
    return msgspec.json.decode(result or b"{}")["error"]


async def test_an_attempt_over_the_time_limit_of_its_type_fails_and_its_history_tells(
    live: Queue, services: Services
) -> None:
    services.worker()
    task_id = await put(live, "nap-limited", seconds=3600)
    task = await reached(live, task_id, Status.FAILED)
    assert task.attempts == 2
    assert "time limit" in error_of(task.result)
    assert [(x.attempt, x.outcome) for x in task.history] == [(1, "scheduled"), (2, "failed")]
    for x in task.history:
        assert x.worker.startswith("w0-")
        assert x.began_us is not None
        assert 300_000 <= x.ended_us - x.began_us < 2_000_000
        assert "time limit" in error_of(x.reason)


async def test_a_task_may_bring_limits_of_its_own(live: Queue, services: Services) -> None:
    services.worker()
    longer = Extra(options='{"time_limit_s":5}')
    task_id = await put(live, "nap-limited", longer, seconds=0.6)
    assert (await reached(live, task_id, Status.COMPLETED, Status.SCHEDULED)).status is Status.COMPLETED
    once = Extra(options='{"max_attempts":1,"time_limit_s":0.2}')
    task = await reached(live, await put(live, "nap", once, seconds=3600), Status.FAILED)
    assert (task.attempts, "time limit" in error_of(task.result)) == (1, True)


async def test_progress_is_seen_within_about_a_second_and_silence_ends_the_attempt(
    live: Queue, services: Services
) -> None:
    services.worker()
    task_id = await put(live, "pulse", beats=30)
    await reached(live, task_id, Status.PROCESSING)
    began = time.monotonic()
    while (progress := (await live.get(task_id)).progress) is None:
        assert time.monotonic() - began < 2
    assert msgspec.json.decode(progress)["beat"] >= 1
    assert (await reached(live, task_id, Status.COMPLETED)).attempts == 1
    silent = await reached(live, await put(live, "pulse", beats=1, silent_s=3600), Status.FAILED)
    assert "no sign of life" in error_of(silent.result)


async def test_a_plain_function_runs_in_a_thread_and_looks_whether_to_stop(
    live: Queue, services: Services
) -> None:
    services.worker(WORKER_CONCURRENCY="10", LEASE_S="1", RENEW_S="0.3")
    ids = [await put(live, "blocking", seconds=2) for _ in range(10)]
    quick = await put(live, "nap")
    for task_id in ids:
        assert (await reached(live, task_id, Status.COMPLETED)).attempts == 1
    assert len(services.naps("effect")) == 11
    await reached(live, quick, Status.COMPLETED)
    limited = await put(live, "blocking", Extra(options='{"time_limit_s":0.3}'))
    assert "time limit" in error_of((await reached(live, limited, Status.FAILED)).result)
    assert [task_id for task_id, _ in services.naps("stopped")] == [limited]


async def test_a_result_that_is_too_large_is_left_out_and_the_task_is_complete(
    live: Queue, services: Services
) -> None:
    services.worker(MAX_RESULT_BYTES="100")
    task = await reached(live, await put(live, "large", characters=101), Status.COMPLETED)
    assert "at most 100" in msgspec.json.decode(task.result or b"")["omitted"]
    task = await reached(live, await put(live, "large", characters=98), Status.COMPLETED)
    assert task.result == b'"%s"' % (b"x" * 98)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_what_runs_at_most_once_is_never_repeated(
    live: Queue, services: Services, end: signal.Signals
) -> None:
    short = {"LEASE_S": "1", "RENEW_S": "0.3", "SHUTDOWN_GRACE_S": "0.3"}
    doomed = services.worker(**short)
    task_id = await put(live, "nap-once", seconds=3600)
    wait_until(lambda: len(services.naps("begin")) == 1, 10, "begun")
    services.worker(**short)
    doomed.signal(end)
    task = await reached(live, task_id, Status.FAILED)
    assert "at most once" in error_of(task.result)
    assert [x.outcome for x in task.history] == ["lost"]
    broken = await reached(live, await put(live, "nap-once", fail="broken"), Status.FAILED)
    assert (broken.attempts, len(services.naps("begin"))) == (1, 2)


@pytest.mark.parametrize("how", ["sys.exit", "interrupt", "cancelled"])
async def test_a_handler_that_means_to_end_its_worker_fails_alone(
    live: Queue, services: Services, how: str
) -> None:
    worker = services.worker(WORKER_CONCURRENCY="1")
    task = await reached(live, await put(live, "quitter", how=how), Status.FAILED)
    assert task.attempts == 1
    await reached(live, await put(live, "nap"), Status.COMPLETED)
    assert worker.running()


@pytest.mark.parametrize("kind", ["stubborn", "deaf-thread"])
async def test_handlers_that_do_not_end_hold_up_neither_the_exit_nor_their_tasks(
    live: Queue, services: Services, kind: str
) -> None:
    worker = services.worker(SHUTDOWN_GRACE_S="0.3")
    stuck = await put(live, kind)
    wait_until(lambda: len(services.naps("begin")) == 1, 10, "begun")
    worker.signal(signal.SIGTERM)
    assert worker.wait(5) == 0
    assert (await live.get(stuck)).status is Status.QUEUED
    assert "do not end" in worker.log.read_text()


async def test_a_handler_that_swallows_its_time_limit_may_still_complete(
    live: Queue, services: Services
) -> None:
    services.worker(WORKER_CONCURRENCY="1")
    stubborn = await put(live, "stubborn", Extra(options='{"time_limit_s":0.2}'), seconds=0.8)
    following = await put(live, "nap", seconds=0.3)
    assert (await reached(live, stubborn, Status.COMPLETED, Status.FAILED)).status is Status.COMPLETED
    task = await reached(live, following, Status.COMPLETED)
    assert task.attempts == 1, "the cancellation did not reach the next task"


async def test_sigterm_is_heeded_while_redis_is_away(
    live: Queue, services: Services, redis: RedisServer
) -> None:
    worker = services.worker(SHUTDOWN_GRACE_S="1", REDIS_TIMEOUT_S="0.5")
    task_id = await put(live, "nap", seconds=0.5)
    wait_until(lambda: len(services.naps("begin")) == 1, 10, "begun")
    redis.pause()
    try:
        wait_until(lambda: len(services.naps("effect")) == 1, 10, "done, and not to be told")
        worker.signal(signal.SIGTERM)
        assert worker.wait(8) == 0
    finally:
        redis.signal(signal.SIGCONT)
    assert (await live.get(task_id)).status is not Status.FAILED
