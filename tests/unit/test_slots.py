"""Places that run tasks: how many at a time, what is claimed ahead, and that none of them is ever lost."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from worker.context import Lease, Stop
from worker.slots import STALE_S, Slots

from tests.fixtures.leases import lease

Run = Callable[[Lease], Awaitable[None]]
Open = Callable[..., Slots]
_mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="clean")


@pytest.fixture
async def places() -> AsyncIterator[Open]:
    opened: list[Slots] = []

    def make(
        run: Run,
        concurrency: int = 2,
        *,
        prefetch: bool = True,
        limits: tuple[float | None, float | None] = (None, None),
    ) -> Slots:
        opened.append(Slots(concurrency, run, lambda _: limits, prefetch=prefetch))
        return opened[-1]

    yield make
    for slots in opened:
        await slots.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  the slots tell nobody
            await asyncio.sleep(0.005)


async def instantly(_lease: Lease) -> None:
    pass


async def for_ever(_lease: Lease) -> None:
    await asyncio.Event().wait()


async def test_no_more_run_at_a_time_than_there_are_places(places: Open) -> None:
    most = 0
    done: list[Lease] = []

    async def run(one: Lease) -> None:
        nonlocal most
        most = max(most, len(slots.running))
        await asyncio.sleep(0.001)
        done.append(one)

    slots = places(run, 3)
    given = [lease() for _ in range(40)]
    slots.start(given)
    await until(lambda: len(done) == 40)
    assert most == 3
    assert done == given, "in their order"


async def test_fast_tasks_are_claimed_ahead_and_slow_ones_are_not(places: Open) -> None:
    slots = places(instantly, 10)
    assert slots.room == 10, "nothing is known yet"
    slots.start([lease() for _ in range(200)])
    await until(lambda: slots.held == 0)
    assert slots.room > 100
    slow = places(for_ever, 10)
    slow.start([lease() for _ in range(10)])
    assert slow.room == 0


async def test_without_prefetch_there_is_never_room_for_more_than_the_places(places: Open) -> None:
    slots = places(instantly, 10, prefetch=False)
    slots.start([lease() for _ in range(200)])
    await until(lambda: slots.held == 0)
    assert slots.room == 10


async def test_a_backlog_is_stale_once_every_place_is_taken_for_long(places: Open) -> None:
    slots = places(for_ever)
    given = [lease() for _ in range(5)]
    slots.start(given)
    await until(lambda: len(slots.running) == 2)
    assert not slots.stale
    await until(lambda: slots.stale)
    assert min(one.began or 0 for one in slots.running.values()) + STALE_S < asyncio.get_running_loop().time()
    assert slots.take_backlog() == given[2:]
    assert (slots.room, slots.held) == (0, 2), "no more is claimed ahead for a while"


async def test_stopping_one_that_waits_takes_it_out_and_touches_no_other(places: Open) -> None:
    slots = places(for_ever, 1)
    running, waiting = lease(), lease()
    slots.start([running, waiting])
    await until(lambda: len(slots.running) == 1)
    assert not slots.stop(waiting, Stop.ASKED)
    assert list(slots.backlog) == []
    assert running.stop is None
    assert len(slots.running) == 1


@pytest.mark.parametrize(
    ("limits", "why"), [((0.02, None), Stop.TIME_LIMIT), ((None, 0.02), Stop.NO_HEARTBEAT)]
)
async def test_what_is_over_its_limit_is_stopped_and_its_place_goes_on(
    places: Open, limits: tuple[float | None, float | None], why: Stop
) -> None:
    ended: list[tuple[Lease, bool]] = []

    async def run(one: Lease) -> None:
        try:
            await asyncio.sleep(3600 if one is late else 0)
        except asyncio.CancelledError:
            ended.append((one, True))
        else:
            ended.append((one, False))

    slots = places(run, 1, limits=limits)
    late, next_one = lease(), lease()
    slots.start([late, next_one])
    await until(lambda: late.began is not None)

    def watched() -> bool:
        slots.watch()
        return len(ended) == 2

    await until(watched)
    assert ended == [(late, True), (next_one, False)]
    assert (late.stop, next_one.stop) == (why, None)


async def test_a_cancellation_that_a_handler_left_behind_reaches_no_other(places: Open) -> None:
    ran: list[Lease] = []

    async def run(one: Lease) -> None:
        if one is first:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()  # and it returns without ever waiting
            return
        await asyncio.sleep(0)
        ran.append(one)

    slots = places(run, 1)
    first, second, third = lease(), lease(), lease()
    slots.start([first, second])
    await until(lambda: ran == [second])
    slots.start([third])
    await until(lambda: ran == [second, third])


async def test_what_a_handler_leaves_in_context_variables_is_not_seen_by_the_next(places: Open) -> None:
    seen: list[str] = []

    async def run(_one: Lease) -> None:
        seen.append(_mark.get())
        _mark.set("left behind")

    slots = places(run, 1)
    slots.start([lease() for _ in range(3)])
    await until(lambda: len(seen) == 3)
    assert seen == ["clean"] * 3


async def test_a_place_that_fails_is_replaced(places: Open) -> None:
    ran: list[Lease] = []

    async def run(one: Lease) -> None:
        if one is first:
            raise RuntimeError("must not happen")
        ran.append(one)

    slots = places(run, 1)
    first, second = lease(), lease()
    slots.start([first, second])
    await until(lambda: ran == [second])


async def test_closing_ends_although_a_handler_swallows_its_cancellation(places: Open) -> None:
    ended: list[Lease] = []

    async def run(one: Lease) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ended.append(one)

    slots = places(run)
    slots.start([lease(), lease()])
    await until(lambda: len(slots.running) == 2)
    async with asyncio.timeout(0.5):
        await slots.close()
    assert len(ended) == 2
    assert all(one.stop is Stop.WORKER_ENDS for one in ended)


async def test_closing_does_not_wait_for_a_handler_that_never_ends(places: Open) -> None:
    go_on = asyncio.Event()

    async def run(_one: Lease) -> None:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    slots = places(run, 1)
    slots.start([stubborn := lease()])
    await until(lambda: len(slots.running) == 1)
    async with asyncio.timeout(3):
        await slots.close()
    assert list(slots.running.values()) == [stubborn]
    assert not stubborn.held, "it begins no step with an effect outside any more"
    go_on.set()
