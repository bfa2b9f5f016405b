"""Delays, due times, periodic tasks, priorities and their aging, history, retention, pauses."""

import pytest
from taskqueue.errors import TaskNotFoundError
from taskqueue.model import MICROSECOND, Kept, NewTask, Priority, Receipt, Retention
from taskqueue.queue import Queue
from taskqueue.states import Status

from tests.fixtures.processes import RedisServer
from tests.integration.conftest import Clock
from tests.integration.queue_calls import (
    Worker,
    completed,
    failed,
    retried,
    status_of,
    stored,
    tasks,
)


async def ids(worker: Worker, want: int = 10) -> list[str]:
    return [claim.id for claim in await worker.claim(want)]


async def test_a_delayed_task_waits_for_its_time_and_not_longer(queue: Queue, clock: Clock) -> None:
    (made,) = await stored(queue, 1, delay_us=5 * MICROSECOND)
    worker = Worker(queue, "a")
    task = await queue.get(made.id)
    assert (task.status, task.due_us) == (Status.SCHEDULED, clock.now_us + 5 * MICROSECOND)
    clock.pass_s(4.9)
    assert await ids(worker) == []
    clock.pass_s(0.1)
    assert await ids(worker) == [made.id]


async def test_tasks_with_a_time_come_in_the_order_of_their_times(queue: Queue, clock: Clock) -> None:
    made = [(await stored(queue, 1, due_us=clock.now_us + n * MICROSECOND))[0] for n in (3, 1, 2)]
    clock.pass_s(10)
    assert await ids(Worker(queue, "a")) == [made[1].id, made[2].id, made[0].id]


async def test_a_time_that_has_passed_means_now(queue: Queue, clock: Clock) -> None:
    (made,) = await stored(queue, 1, due_us=clock.now_us - MICROSECOND)
    assert await status_of(queue, made) is Status.QUEUED


async def test_reaping_tells_how_long_until_the_next_task_is_due(queue: Queue) -> None:
    await stored(queue, 1, delay_us=700_000)
    assert (await Worker(queue, "a").reap_reply()).next_due_us == 700_000


async def test_a_periodic_task_is_stored_once_for_each_of_its_times(queue: Queue) -> None:
    first, second, late, next_one = (tasks(1, periodic=("hourly", due))[0] for due in (1, 1, 0, 2))
    receipts = [(await queue.enqueue([task]))[0] for task in (first, second, late, next_one)]
    assert [isinstance(r, Receipt) and r.stored for r in receipts] == [True, False, False, True]
    assert await ids(Worker(queue, "a")) == [first.id, next_one.id]


async def test_higher_priorities_are_taken_first_and_each_in_its_order(queue: Queue) -> None:
    low, normal, high = [await stored(queue, 2, priority=level) for level in (2, 1, 0)]
    plain = await stored(queue, 1)
    assert await ids(Worker(queue, "a")) == [t.id for t in (*high, *normal, *plain, *low)]
    shown = [(await queue.get(t.id)).priority for t in (high[0], plain[0], low[0])]
    assert shown == [Priority.HIGH, Priority.NORMAL, Priority.LOW]


async def test_a_retried_task_keeps_its_priority(queue: Queue, clock: Clock) -> None:
    (low,) = await stored(queue, 1, priority=2)
    worker = Worker(queue, "a")
    await worker.call(0, retried((await worker.claim())[0], 1))
    (plain,) = await stored(queue, 1)
    clock.pass_s(2)
    assert await ids(worker) == [plain.id, low.id]


async def test_a_low_task_is_not_starved_by_tasks_that_keep_coming(queue: Queue, clock: Clock) -> None:
    (low,) = await stored(queue, 1, priority=2)
    worker = Worker(queue, "a")
    for second in range(200):
        clock.pass_s(1)
        await worker.reap()
        await stored(queue, 1, priority=0)
        (claim,) = await worker.claim()
        await worker.call(0, completed(claim))
        if claim.id == low.id:
            assert 118 <= second <= 125, "up to normal after a minute, to high after two"
            return
    pytest.fail("never taken")


async def test_only_a_few_tasks_a_reap_move_up_so_that_urgent_ones_stay_urgent(
    queue: Queue, clock: Clock
) -> None:
    old = await stored(queue, 50, priority=1)
    clock.pass_s(300)
    await Worker(queue, "r").reap()
    (urgent,) = await stored(queue, 1, priority=0)
    assert await ids(Worker(queue, "a"), 4) == [old[0].id, old[1].id, urgent.id, old[2].id]


async def test_the_history_has_a_line_for_each_attempt_that_did_not_complete(
    queue: Queue, clock: Clock
) -> None:
    (made,) = await stored(queue, 1)
    worker = Worker(queue, "a")
    began = clock.now_us
    (claim,) = await worker.claim()
    clock.pass_s(0.5)
    await worker.call(0, retried(claim, 1))
    clock.pass_s(2)
    await worker.call(0, failed((await worker.claim())[0]))
    first, second = (await queue.get(made.id)).history
    assert (first.attempt, first.worker, first.outcome, first.reason) == (
        1,
        "a",
        "scheduled",
        b'{"error":"x"}',
    )
    assert (first.began_us, first.ended_us) == (began, began + 500_000)
    assert (second.attempt, second.outcome) == (2, "failed")


async def test_the_history_keeps_the_last_twenty_lines(queue: Queue, clock: Clock) -> None:
    (made,) = await stored(queue, 1)
    worker = Worker(queue, "a")
    for _ in range(25):
        await worker.call(0, retried((await worker.claim())[0], 1))
        clock.pass_s(2)
    history = (await queue.get(made.id)).history
    assert [line.attempt for line in history] == list(range(6, 26))


async def test_an_attempt_that_does_not_count_is_taken_off_again(queue: Queue, clock: Clock) -> None:
    await stored(queue, 1)
    worker = Worker(queue, "a")
    for _ in range(3):
        (claim,) = await worker.claim()
        assert claim.attempt == 1
        await worker.call(0, retried(claim, 1, counts=False))
        clock.pass_s(2)


async def test_retention_by_count_keeps_the_newest_of_each_way_to_end(queue: Queue, clock: Clock) -> None:
    made = await stored(queue, 5)
    worker = Worker(queue, "a")
    for _ in range(5):
        await worker.call(0, completed((await worker.claim())[0]))
        clock.pass_s(0.1)
    none = Kept(86_400 * MICROSECOND)
    await worker.reap(Retention(completed=Kept(86_400 * MICROSECOND, 2), failed=none, cancelled=none))
    assert [t.id for t in await queue.tasks([t.id for t in made])] == [made[3].id, made[4].id]
    with pytest.raises(TaskNotFoundError):
        await queue.get(made[0].id)
    assert (await queue.stats()).totals["completed"] == 5, "totals only grow"


async def test_a_paused_queue_takes_tasks_and_reports_and_gives_none_out(
    queue: Queue, redis: RedisServer
) -> None:
    await stored(queue, 2)
    worker = Worker(queue, "a")
    (held,) = await worker.claim()
    assert (await queue.pause(), await queue.pause()) == (True, False)
    await stored(queue, 1)
    assert (await worker.call(5, completed(held))).claims == []
    assert redis.cli("llen", queue.prefix + "wake") == "0", "nobody is woken for nothing"
    stats = await queue.stats()
    assert (stats.paused, stats.queued, stats.completed) == (True, 2, 1)
    assert (await queue.resume(), await queue.resume()) == (True, False)
    assert redis.cli("llen", queue.prefix + "wake") == "1", "the one that waits is woken"
    assert len(await worker.claim(5)) == 2


async def test_a_claim_brings_about_four_megabytes_and_the_rest_stays_in_its_order(queue: Queue) -> None:
    big = [NewTask(task.id, task.type, b'"' + b"x" * 1_000_000 + b'"') for task in tasks(10)]
    await queue.enqueue(big)
    worker = Worker(queue, "a")
    got = [await ids(worker), await ids(worker), await ids(worker)]
    assert [len(part) for part in got] == [5, 5, 0]
    assert got[0] + got[1] == [task.id for task in big]


async def test_a_task_of_a_later_form_is_put_off_until_a_newer_worker_comes(
    queue: Queue, clock: Clock, redis: RedisServer
) -> None:
    later, known = await stored(queue, 2)
    redis.cli("hset", f"{queue.prefix}task:{later.id}", "v", "99")
    worker = Worker(queue, "a")
    assert await ids(worker) == [known.id]
    task = await queue.get(later.id)
    assert (task.status, task.attempts) == (Status.SCHEDULED, 0)
    redis.cli("hset", f"{queue.prefix}task:{later.id}", "v", "2")
    clock.pass_s(6)
    assert await ids(worker) == [later.id]


async def test_a_task_of_the_first_form_is_claimed_and_settled(
    queue: Queue, redis: RedisServer, clock: Clock
) -> None:
    """As version 0.1 stored it: without any of the fields that came later."""
    first = tasks(1)[0]
    words = ("v", "1", "t", "email", "d", '{"n":1}', "c", str(clock.now_us), "e", "0", "a", "0")
    redis.cli("hset", f"{queue.prefix}task:{first.id}", "s", "queued", *words)
    redis.cli("rpush", f"{queue.prefix}ready:1", first.id)
    redis.cli("zadd", f"{queue.prefix}index", "0", first.id)
    worker = Worker(queue, "a")
    (claim,) = await worker.claim()
    assert (claim.id, claim.attempt, claim.data) == (first.id, 1, b'{"n":1}')
    await worker.call(0, completed(claim))
    assert await status_of(queue, first) is Status.COMPLETED
