"""Tasks that take their worker down: suspects run alone, and only what kills alone is dead-lettered."""

import pytest
from taskqueue.catalog import Catalog
from taskqueue.connection import Connection
from taskqueue.model import Claim, NewTask, Next
from taskqueue.queue import Queue
from taskqueue.states import Status

from tests.fixtures.processes import RedisServer
from tests.integration.conftest import Clock, Connect
from tests.integration.queue_calls import (
    Worker,
    completed,
    let_lapse,
    retried,
    status_of,
    stored,
    tasks,
)


@pytest.fixture
async def reaper(queue: Queue) -> Worker:
    worker = Worker(queue, "reaper")
    await worker.reap()
    return worker


async def killed(reaper: Worker, clock: Clock, number: int, want: int) -> list[Claim]:
    """What a worker claimed that was then lost."""
    claims = await Worker(reaper.queue, f"victim{number}").claim(want)
    assert sorted(await let_lapse(reaper, clock)) == sorted(claim.id for claim in claims)
    return claims


async def suspects(reaper: Worker, clock: Clock, count: int) -> list[NewTask]:
    """So many tasks that were in flight at two kills, together."""
    made = await stored(reaper.queue, count)
    for number in range(2):
        assert len(await killed(reaper, clock, number, count)) == count
    return made


async def test_what_was_in_flight_at_one_kill_is_run_together_again(reaper: Worker, clock: Clock) -> None:
    made = await stored(reaper.queue, 3)
    await killed(reaper, clock, 0, 3)
    again = await Worker(reaper.queue, "a").call(3)
    assert [c.id for c in again.claims] == [task.id for task in made]
    assert again.next is not Next.ALONE


async def test_the_third_run_is_alone_and_only_the_one_that_kills_again_is_dead_lettered(
    reaper: Worker, clock: Clock
) -> None:
    queue, made = reaper.queue, await suspects(reaper, clock, 3)
    innocent = Worker(queue, "innocent")
    for _ in range(2):
        reply = await innocent.call(10)
        assert (len(reply.claims), reply.next) == (1, Next.ALONE)
        await innocent.call(0, completed(reply.claims[0]))
    (culprit,) = await killed(reaper, clock, 9, 10)
    task = await queue.get(culprit.id)
    assert (task.status, task.kills) == (Status.FAILED, 3)
    assert task.result is not None
    assert b'"code":"poison"' in task.result
    assert [line.outcome for line in task.history] == ["lost"] * 3
    others = [t for t in made if t.id != culprit.id]
    assert [await status_of(queue, t) for t in others] == [Status.COMPLETED] * 2
    assert (await queue.stats()).totals["poisoned"] == 1


async def test_a_suspect_that_survived_alone_is_not_failed_by_the_next_kill_beside_others(
    reaper: Worker, clock: Clock
) -> None:
    queue, (made,) = reaper.queue, await suspects(reaper, clock, 1)
    worker = Worker(queue, "a")
    (claim,) = await worker.claim()
    await worker.call(0, retried(claim, 1))
    await let_lapse(reaper, clock, 2)
    await stored(queue, 1)
    assert len(await killed(reaper, clock, 2, 2)) == 2
    assert await status_of(queue, made) is Status.QUEUED
    assert (await worker.call(5)).next is Next.ALONE


async def test_a_suspect_that_was_handed_back_still_runs_alone(reaper: Worker, clock: Clock) -> None:
    queue, (made,) = reaper.queue, await suspects(reaper, clock, 1)
    leaving = Worker(queue, "leaving")
    (claim,) = await leaving.claim()
    await queue.release("leaving", [(made.id, claim.epoch, False)], leave=True)
    await stored(queue, 3)
    reply = await Worker(queue, "a").call(4)
    assert ([c.id for c in reply.claims], reply.next) == ([made.id], Next.ALONE)


async def test_one_busy_worker_is_asked_to_drain_and_the_others_go_on(reaper: Worker, clock: Clock) -> None:
    queue = reaper.queue
    await suspects(reaper, clock, 1)
    await queue.enqueue(tasks(5))
    asked, other = Worker(queue, "asked"), Worker(queue, "other")
    assert await asked.next(beside=2) is Next.DRAIN
    reply = await other.call(1, beside=2)
    assert (len(reply.claims), reply.next) == (1, Next.MORE)
    assert await asked.next(beside=1) is Next.DRAIN
    assert await asked.next(beside=0) is Next.ALONE


async def test_a_worker_that_cannot_drain_in_time_hands_the_turn_on_and_gets_it_again(
    reaper: Worker, clock: Clock
) -> None:
    queue = reaper.queue
    await suspects(reaper, clock, 1)
    first, second = Worker(queue, "first"), Worker(queue, "second")
    assert await first.next(beside=1) is Next.DRAIN
    await let_lapse(first, clock, 5.5)
    assert await first.next(beside=1) is not Next.DRAIN, "its turn is over"
    assert await second.next(beside=1) is Next.DRAIN
    for _ in range(18):
        await let_lapse(second, clock, 0.5)
        assert await second.next(beside=1) is Next.DRAIN, "twice as long"
    await let_lapse(second, clock, 2)
    assert await first.next(beside=1) is Next.DRAIN


async def test_a_lone_worker_that_is_never_idle_is_asked_again_and_again(
    reaper: Worker, clock: Clock
) -> None:
    await suspects(reaper, clock, 1)
    lone = Worker(reaper.queue, "lone")
    heard: list[Next] = []
    for _ in range(60):
        await let_lapse(lone, clock, 1)
        heard.append(await lone.next(beside=1))
    assert heard[:5] == [Next.DRAIN] * 5
    assert Next.DRAIN in heard[10:20]
    assert heard.count(Next.DRAIN) > heard.count(Next.WAIT)


async def test_a_worker_that_died_while_it_drained_is_replaced_before_its_turn_is_over(
    reaper: Worker, clock: Clock
) -> None:
    queue = reaper.queue
    await suspects(reaper, clock, 1)
    assert await Worker(queue, "slow").next(beside=1) is Next.DRAIN
    await let_lapse(reaper, clock, 5.5)
    assert await Worker(queue, "dead").next(beside=1) is Next.DRAIN, "for ten seconds"
    alive = Worker(queue, "alive")
    await let_lapse(reaper, clock, 4.5)
    assert await alive.next(beside=1) is not Next.DRAIN
    await let_lapse(reaper, clock, 1)
    assert await alive.next(beside=1) is Next.DRAIN


async def test_a_repeat_never_says_alone_without_the_task(reaper: Worker, clock: Clock) -> None:
    await suspects(reaper, clock, 1)
    frozen = Worker(reaper.queue, "frozen")
    assert (await frozen.call(1)).next is Next.ALONE
    await let_lapse(reaper, clock)
    reply = await frozen.call(1, repeat=True)
    assert (reply.claims, reply.next) == ([], Next.MORE)


async def test_without_a_limit_a_task_may_kill_any_number_of_workers(queue: Queue, clock: Clock) -> None:
    (made,) = await stored(queue, 1)
    reaper = Worker(queue, "reaper")
    for number in range(5):
        await Worker(queue, f"victim{number}").claim()
        for _ in range(25):
            clock.pass_s(0.5)
            await reaper.reap(kills=0)
    assert (await queue.get(made.id)).kills == 5
    assert await status_of(queue, made) is Status.QUEUED


@pytest.mark.parametrize("how", ["lapses", "is released"])
async def test_a_type_that_runs_at_most_once_fails_when_its_begun_attempt(
    queue: Queue, clock: Clock, redis: RedisServer, connect: Connect, how: str
) -> None:
    await once(connect(redis))
    (made,) = await stored(queue, 1, "once")
    worker, reaper = Worker(queue, "a"), Worker(queue, "b")
    (claim,) = await worker.claim()
    if how == "lapses":
        await reaper.reap()
        await let_lapse(reaper, clock)
    else:
        await queue.release("a", [(claim.id, claim.epoch, True)], leave=True)
    task = await queue.get(made.id)
    assert task.status is Status.FAILED
    assert task.result is not None
    assert b"at most once" in task.result


async def test_a_type_that_runs_at_most_once_is_queued_again_if_it_was_not_begun(
    queue: Queue, redis: RedisServer, connect: Connect
) -> None:
    await once(connect(redis))
    (made,) = await stored(queue, 1, "once")
    (claim,) = await Worker(queue, "a").claim()
    await queue.release("a", [(claim.id, claim.epoch, False)], leave=True)
    assert [c.id for c in await Worker(queue, "b").claim()] == [made.id]


async def once(connection: Connection) -> None:
    await Catalog(connection).publish_modes({"once": True, "email": False})
