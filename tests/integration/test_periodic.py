"""Periodic tasks: once a due time, however many workers try, and nothing invented after a pause."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from taskqueue.decoding import decoder
from taskqueue.queue import Queue
from worker import periodic
from worker.periodic import Periodic
from worker.registry import TaskType

from tests.integration.clients import holds

START = datetime(2026, 3, 1, 11, 59, 30, 250_000, tzinfo=UTC)


class Nothing(msgspec.Struct):
    note: str = "by default"


class WallClock:
    """A wall clock that the test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    monkeypatch.setattr(periodic, "LONGEST_NAP_S", 0.01)  # how soon a clock that was set is noticed
    return WallClock()


Begin = Callable[..., list["asyncio.Task[None]"]]


@pytest.fixture
async def begin(live: Queue, wall: WallClock) -> AsyncIterator[Begin]:
    running: list[asyncio.Task[None]] = []

    def start(count: int, cron: str = "* * * * *") -> list[asyncio.Task[None]]:
        async def run(payload: Nothing) -> None: ...

        kind = TaskType(
            name="tick", payload=Nothing, decode=decoder(Nothing), run=run, max_attempts=1, cron=cron
        )
        made = [asyncio.create_task(Periodic(live, {"tick": kind}, wall).run()) for _ in range(count)]
        running.extend(made)
        return made

    yield start
    await end(running)


async def end(running: list["asyncio.Task[None]"]) -> None:
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def queued(live: Queue, count: int) -> Callable[[], Awaitable[bool]]:
    async def so_many() -> bool:
        return (await live.stats()).stored == count

    return so_many


async def stays(live: Queue, count: int) -> None:
    """After each of the instances has surely looked at the clock again."""
    await asyncio.sleep(0.2)
    assert (await live.stats()).stored == count


async def test_three_workers_queue_one_task_a_due_time(live: Queue, wall: WallClock, begin: Begin) -> None:
    begin(3)
    await stays(live, 0)
    for minute in range(1, 6):
        wall.now = START.replace(second=0, microsecond=1000) + timedelta(minutes=minute)
        await holds(queued(live, minute), f"{minute} due times queued")
        await stays(live, minute)
        assert await live.last_fired("tick") == micros(wall.now)
    (task, *_) = (await live.page(10)).tasks
    assert (task.type, task.data) == ("tick", b'{"note":"by default"}')


async def test_a_new_schedule_begins_with_its_next_time(live: Queue, wall: WallClock, begin: Begin) -> None:
    begin(3, "0 * * * *")
    await stays(live, 0)
    assert await live.last_fired("tick") is None
    wall.now += timedelta(minutes=1)
    await holds(queued(live, 1), "the first time")


async def test_times_missed_while_no_worker_ran_are_made_up_for_once(
    live: Queue, wall: WallClock, begin: Begin
) -> None:
    first = begin(1)
    await stays(live, 0)
    wall.now += timedelta(minutes=1)
    await holds(queued(live, 1), "fired")
    await end(first)
    wall.now += timedelta(hours=3)
    begin(3)
    await holds(queued(live, 2), "made up for")
    await stays(live, 2)
    assert await live.last_fired("tick") == micros(wall.now.replace(second=0))


async def test_a_worker_that_slept_through_many_times_queues_the_last_one(
    live: Queue, wall: WallClock, begin: Begin
) -> None:
    begin(1)
    await stays(live, 0)
    wall.now += timedelta(hours=3)
    await holds(queued(live, 1), "fired")
    await stays(live, 1)
    wall.now += timedelta(minutes=1)
    await holds(queued(live, 2), "and goes on with the next")


async def test_a_clock_set_back_queues_nothing_again(live: Queue, wall: WallClock, begin: Begin) -> None:
    begin(2)
    await stays(live, 0)
    wall.now += timedelta(minutes=1)
    await holds(queued(live, 1), "fired")
    wall.now -= timedelta(minutes=2)
    begin(1)
    await stays(live, 1)
    wall.now += timedelta(minutes=2)
    await stays(live, 1)
