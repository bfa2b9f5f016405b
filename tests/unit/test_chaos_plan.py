"""What a seed draws: the same faults each time, of every kind, none at a process that another has in hand."""

from collections import Counter
from itertools import pairwise

import pytest

from loadtest.chaos import schedule
from loadtest.chaos.fates import DEFAULT_PERCENT, FAILING_ATTEMPTS, Fate, Fates
from loadtest.chaos.record import Kind
from loadtest.chaos.schedule import Planned

LOAD_S = 80.0
LEASE_S = 10.0
ALONE = (Kind.WORKER_KILL, Kind.WORKER_TERM, Kind.WORKER_FREEZE, Kind.API_KILL)


def drawn(seed: int = 1, load_s: float = LOAD_S) -> tuple[Planned, ...]:
    return schedule.draw(seed, load_s, schedule.counts(load_s), workers=4, apis=2, lease_s=LEASE_S)


def test_a_seed_draws_the_same_faults_each_time_and_another_seed_others() -> None:
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


@pytest.mark.parametrize("load_s", [5.0, LOAD_S, 300.0])
def test_every_kind_of_fault_comes_however_short_the_load(load_s: float) -> None:
    assert {fault.kind for fault in drawn(load_s=load_s)} == set(Kind) - {Kind.ROLLING_UPDATE}


@pytest.mark.parametrize("seed", range(20))
def test_faults_are_in_order_and_begin_under_load(seed: int) -> None:
    times = [fault.at_s for fault in drawn(seed)]
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < LOAD_S + LEASE_S


@pytest.mark.parametrize("seed", range(20))
def test_a_process_that_is_frozen_or_replaced_is_left_alone_meanwhile(seed: int) -> None:
    by_target: dict[str, list[Planned]] = {}
    for fault in drawn(seed):
        if fault.kind in ALONE:
            by_target.setdefault(fault.target, []).append(fault)
    for faults in by_target.values():
        for before, after in pairwise(faults):
            assert after.at_s >= before.at_s + before.duration_s + schedule.REPLACED_S


def test_a_frozen_worker_is_thawed_after_its_lease() -> None:
    frozen = [fault for fault in drawn() if fault.kind is Kind.WORKER_FREEZE]
    assert frozen
    assert all(fault.duration_s > LEASE_S for fault in frozen)


def test_lines_are_cut_in_requests_and_in_replies_and_stalled_for_longer_than_a_lease_too() -> None:
    faults = drawn(load_s=300.0)
    for kind in (Kind.WORKER_CUT, Kind.API_CUT):
        assert {fault.side for fault in faults if fault.kind is kind} == {"request", "reply"}
    stalls = [fault.duration_s for fault in faults if fault.kind is Kind.WORKER_STALL]
    assert min(stalls) < LEASE_S < max(stalls)


def treated(number: int, percent: dict[str, float]) -> Counter[Fate]:
    fates = Fates(3, percent)
    return Counter(fates.treatment(f"{key}.0", 0).fate for key in range(number))


def test_the_mail_server_fails_about_as_often_as_it_is_told() -> None:
    seen = treated(20_000, DEFAULT_PERCENT)
    for fate, percent in DEFAULT_PERCENT.items():
        if fate != "stall":
            assert seen[Fate(fate)] / 200 == pytest.approx(percent, rel=0.3)


def test_a_mail_that_is_refused_for_good_is_never_taken_on_another_attempt() -> None:
    fates = Fates(3, {"reject_data": 50.0, "drop_after": 50.0})
    for key in range(200):
        seen = {fates.treatment(f"{key}.0", attempt).fate for attempt in range(5)}
        assert seen == {Fate.REJECT_DATA} or Fate.REJECT_DATA not in seen


def test_passing_failures_end_before_a_tasks_attempts_do() -> None:
    fates = Fates(3, {"defer_data": 100.0})
    assert fates.treatment("1.0", FAILING_ATTEMPTS - 1).fate is Fate.DEFER_DATA
    assert fates.treatment("1.0", FAILING_ATTEMPTS).fate is Fate.TAKEN


def test_the_same_transaction_is_treated_the_same_in_every_run() -> None:
    one, other = Fates(5, DEFAULT_PERCENT), Fates(5, DEFAULT_PERCENT)
    assert all(one.treatment(f"{n}.0", 1) == other.treatment(f"{n}.0", 1) for n in range(500))
