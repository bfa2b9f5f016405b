"""Cancel, purge and redrive in every state, and the tombstones that they leave."""

import pytest
from taskqueue.errors import TaskNotFoundError
from taskqueue.model import MICROSECOND, Claim, NewTask, Outcome
from taskqueue.queue import Queue
from taskqueue.states import Status

from tests.fixtures.processes import RedisServer
from tests.integration.conftest import Clock
from tests.integration.queue_calls import (
    Worker,
    completed,
    failed,
    let_lapse,
    retried,
    status_of,
    stored,
)


def cancelled(claim: Claim) -> Outcome:
    return Outcome(claim.id, claim.epoch, Status.CANCELLED, b'{"error":"cancelled"}')


async def gone(queue: Queue, task: NewTask) -> bool:
    with pytest.raises(TaskNotFoundError):
        await queue.get(task.id)
    return (await queue.stats()).stored == 0


async def test_a_cancelled_task_is_skipped_by_claims_and_no_longer_counted_as_queued(
    queue: Queue, redis: RedisServer
) -> None:
    first, second, third = await stored(queue, 3)
    assert await queue.cancel([second.id]) == ["cancelled"]
    stats = await queue.stats()
    assert (stats.queued, stats.cancelled) == (2, 1)
    assert redis.cli("llen", f"{queue.prefix}ready:1") == "3", "its id stays, as taking it out walks the list"
    assert [c.id for c in await Worker(queue, "a").claim(3)] == [first.id, third.id]
    stats = await queue.stats()
    assert (stats.queued, stats.processing, stats.cancelled) == (0, 2, 1)


async def test_a_cancelled_delay_never_comes_due(queue: Queue, clock: Clock) -> None:
    (made,) = await stored(queue, 1, delay_us=MICROSECOND)
    assert await queue.cancel([made.id]) == ["cancelled"]
    clock.pass_s(2)
    assert await Worker(queue, "a").claim() == []
    assert await status_of(queue, made) is Status.CANCELLED


async def test_cancelling_what_has_ended_or_never_was_changes_nothing(queue: Queue) -> None:
    (made,) = await stored(queue, 1)
    worker = Worker(queue, "a")
    await worker.call(0, completed((await worker.claim())[0]))
    assert await queue.cancel([made.id, "no-such-task"]) == ["completed", ""]
    assert await status_of(queue, made) is Status.COMPLETED


async def test_a_running_task_is_told_to_stop_by_every_reap_until_its_worker_says_so(queue: Queue) -> None:
    (made,) = await stored(queue, 1)
    worker = Worker(queue, "a")
    (claim,) = await worker.claim()
    assert await queue.cancel([made.id]) == ["cancelling"]
    assert (await queue.get(made.id)).cancelling
    assert await worker.asked() == [made.id]
    assert await worker.asked() == [made.id]
    await worker.call(0, cancelled(claim))
    assert await status_of(queue, made) is Status.CANCELLED
    assert await worker.asked() == []


async def test_a_running_task_that_ends_before_it_heard_of_the_cancel_keeps_its_result(queue: Queue) -> None:
    done, broken = await stored(queue, 2)
    worker = Worker(queue, "a")
    first, second = await worker.claim(2)
    await queue.cancel([done.id, broken.id])
    await worker.call(0, completed(first), failed(second))
    assert [await status_of(queue, t) for t in (done, broken)] == [Status.COMPLETED, Status.FAILED]
    assert await worker.asked() == []


@pytest.mark.parametrize("begun", [True, False])
async def test_a_running_task_that_was_cancelled_is_not_run_again(
    queue: Queue, clock: Clock, begun: bool
) -> None:
    made = await stored(queue, 3)
    worker, other = Worker(queue, "a"), Worker(queue, "b")
    retry, lapse, release = await worker.claim(3)
    await other.reap()
    await queue.cancel([task.id for task in made])
    await worker.call(0, retried(retry, 1))
    await queue.release("a", [(release.id, release.epoch, begun)], leave=False)
    assert await let_lapse(other, clock) == [lapse.id]
    assert [await status_of(queue, task) for task in made] == [Status.CANCELLED] * 3
    assert await other.claim(3) == []


async def test_a_redriven_task_runs_once_though_its_tombstone_is_still_in_the_list(queue: Queue) -> None:
    first, second = await stored(queue, 2)
    for _ in range(2):
        await queue.cancel([first.id])
        assert await queue.redrive([first.id]) == ["queued"]
    assert (await queue.stats()).queued == 2
    worker = Worker(queue, "a")
    claims = await worker.claim(5)
    assert [c.id for c in claims] == [second.id, first.id], "at the tail, as if it came anew"
    await worker.call(5, *map(completed, claims))
    stats = await queue.stats()
    assert (stats.queued, stats.completed) == (0, 2)


async def test_a_redriven_dead_letter_has_all_its_attempts_before_it_and_keeps_its_history(
    queue: Queue,
) -> None:
    (made,) = await stored(queue, 1)
    worker = Worker(queue, "a")
    await worker.call(0, failed((await worker.claim())[0]))
    assert [ended.id for ended in await queue.finished(Status.FAILED, 10)] == [made.id]
    assert await queue.redrive([made.id, "no-such-task"]) == ["queued", ""]
    assert await queue.redrive([made.id]) == ["queued"], "a repeat changes nothing"
    (again,) = await worker.claim(5)
    assert (again.attempt, again.epoch) == (1, 2)
    task = await queue.get(made.id)
    assert (task.result, [line.outcome for line in task.history]) == (None, ["failed"])
    assert (await queue.stats()).totals["redriven"] == 1


async def test_what_is_complete_or_under_way_is_not_redriven(queue: Queue) -> None:
    done, running, waiting, later = *await stored(queue, 3), *await stored(queue, 1, delay_us=MICROSECOND)
    worker = Worker(queue, "a")
    claims = await worker.claim(2)
    await worker.call(0, completed(claims[0]))
    answers = await queue.redrive([done.id, running.id, waiting.id, later.id])
    assert answers == ["completed", "processing", "queued", "scheduled"]


async def test_a_purged_task_leaves_nothing_behind_whatever_its_state(
    queue: Queue, redis: RedisServer
) -> None:
    done, dead, waiting = await stored(queue, 3)
    (later,) = await stored(queue, 1, delay_us=MICROSECOND)
    worker = Worker(queue, "a")
    claims = await worker.claim(2)
    await worker.call(0, completed(claims[0]), failed(claims[1]))
    (cancelled_task,) = await stored(queue, 1)
    await queue.cancel([cancelled_task.id])
    every = [task.id for task in (done, dead, waiting, later, cancelled_task)]
    assert await queue.purge([*every, "no-such-task"]) == ["purged"] * 5 + [""]
    assert (await queue.stats()).stored == 0
    assert await worker.claim(5) == []
    assert "task:" not in redis.cli("keys", "*")


async def test_a_running_task_is_purged_when_its_worker_reports(queue: Queue) -> None:
    (made,) = await stored(queue, 1)
    worker = Worker(queue, "a")
    (claim,) = await worker.claim()
    assert await queue.purge([made.id]) == ["purging"]
    assert await queue.cancel([made.id]) == ["cancelling"], "and still goes"
    assert (await worker.call(0, completed(claim))).lost == []
    assert await gone(queue, made)


async def test_a_running_task_is_purged_when_its_worker_is_lost(queue: Queue, clock: Clock) -> None:
    (made,) = await stored(queue, 1)
    worker, other = Worker(queue, "a"), Worker(queue, "b")
    await worker.claim()
    await other.reap()
    await queue.purge([made.id])
    await let_lapse(other, clock)
    assert await gone(queue, made)
    assert await other.claim() == []
