"""The verdict on a recorded run: a good one passes, and each kind of fault makes its own check fail."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from loadtest import record as records
from loadtest.cluster import Policy, Step
from loadtest.judge import judge
from loadtest.record import Calibration, Kind, Phase, Plan, Record, Sample, Target
from loadtest.result import summary

POLICY = Policy(
    minimum=2, maximum=10, target_percent=70, request_m=50.0, down_window_s=60,
    up=(Step(kind="Percent", value=100, period_s=15), Step(kind="Pods", value=2, period_s=15)),
    down=(Step(kind="Percent", value=50, period_s=60),),
)  # fmt: skip
RATE = 10
COURSE = (
    # second from which, phase, replicas
    (0, Phase.BASELINE, 2), (31, Phase.LOAD, 2), (50, Phase.LOAD, 4), (66, Phase.LOAD, 8),
    (82, Phase.LOAD, 10), (85, Phase.HOLD, 10), (180, Phase.DRAIN, 10), (183, Phase.COOL, 10),
    (246, Phase.COOL, 5), (306, Phase.COOL, 2),
)  # fmt: skip
END = 320


def good(kind: Kind = Kind.PROOF) -> Record:
    """A run as it should be: a second a sample, ten e-mails a second from 31 to 180."""
    samples = tuple(_sample(t) for t in range(END))
    ids = {f"task-{n}": 1000 + n / 10 for n in range((180 - 31) * RATE)}
    record = Record(
        plan=Plan(
            kind=kind, rate=RATE, baseline_s=30, hold_s=90, peak_limit_s=90, domain="example.com", tag="t"
        ),
        target=Target(
            context="c", namespace="n", api_url="http://a", mail_url="http://m", worker_image="w:1"
        ),
        policy=POLICY, started_at="2026-01-01T00:00:00+00:00", probe_s=0.4,
        calibration=Calibration(rate=5, idle_m_per_pod=4, busy_m=40, cpu_ms_per_mail=4.0),
        marks={phase: float(at) for at, phase, _ in reversed(COURSE)}, samples=samples, followed=12,
        accepted=ids, deliveries=tuple((task_id, round(at + 0.2, 1)) for task_id, at in ids.items()),
    )  # fmt: skip
    return record if kind is Kind.PROOF else _control(record)


def _sample(t: int) -> Sample:
    _, phase, replicas = next(row for row in reversed(COURSE) if t >= row[0])
    accepted = max(0, min(t, 180) - 31) * RATE
    return Sample(
        t=float(t), phase=phase, desired=replicas, ready=replicas, pods=replicas, ending=0, accepted=accepted,
        delivered=max(0, accepted - 3) if t < 182 else accepted, cpu_m=400.0, machine_percent=60.0,
        p50_ms=5.0, p95_ms=12.0, cpu_percent=90, accepted_per_s=10.0, delivered_per_s=10.0,
    )  # fmt: skip


def _control(record: Record) -> Record:
    below = tuple(
        replace(s, desired=min(s.desired, 4), ready=min(s.ready, 4), pods=min(s.pods, 4))
        for s in record.samples
    )
    return replace(record, samples=below)


def change(record: Record, at: range, **fields: object) -> Record:
    """The record with some samples changed."""
    changed = (
        msgspec.convert(msgspec.to_builtins(s) | fields, Sample) if int(s.t) in at else s
        for s in record.samples
    )
    return replace(record, samples=tuple(changed))


def failed(record: Record) -> set[str]:
    """Names of the checks that a record fails."""
    return {check.name for check in judge(record) if not check.passed}


@pytest.mark.parametrize("kind", list(Kind))
def test_a_good_run_passes_every_check(kind: Kind) -> None:
    assert failed(good(kind)) == set()
    assert summary(good(kind))["passed"] is True


def _without_one_delivery(record: Record) -> Record:
    return replace(record, deliveries=record.deliveries[1:])


def _with_one_delivered_twice(record: Record) -> Record:
    return replace(record, deliveries=(*record.deliveries, record.deliveries[7]))


def _with_samples_missing(record: Record) -> Record:
    return replace(record, samples=tuple(s for s in record.samples if not 100 <= s.t < 112))


def _without_a_return(record: Record) -> Record:
    return replace(record, samples=tuple(s for s in record.samples if s.t < 300))


def _late_peak(record: Record) -> Record:
    return replace(record, plan=replace(record.plan, peak_limit_s=40.0))


def _without_a_peak(record: Record) -> Record:
    marks = {name: at for name, at in record.marks.items() if name != Phase.HOLD}
    nine = (replace(s, ready=min(s.ready, 9)) for s in record.samples)
    return replace(record, marks=marks, samples=tuple(nine))


FAULTS: dict[str, tuple[Callable[[Record], Record], str]] = {
    "three at the start": (lambda r: change(r, range(5, 8), ready=3), "starts with 2 ready"),
    "a short baseline": (
        lambda r: replace(r, samples=tuple(s for s in r.samples if s.t > 10)), "starts with 2 ready",
    ),
    "too slow a rise": (_late_peak, "10 ready within 40 s"),
    "nine at most": (_without_a_peak, "10 ready within 90 s"),
    "eleven pods": (lambda r: change(r, range(120, 122), pods=11), "never more than 10"),
    "eleven desired": (lambda r: change(r, range(120, 122), desired=11), "never more than 10"),
    "a short hold": (
        lambda r: replace(r, policy=replace(POLICY, down_window_s=100)),
        "stays at 10 for longer than the scale-down window",
    ),
    "one often not ready": (
        lambda r: change(r, range(130, 140), ready=9), "stays at 10 for longer than the scale-down window",
    ),
    "one away in the hold": (
        lambda r: change(r, range(130, 131), pods=9), "stays at 10 for longer than the scale-down window",
    ),
    "a fall under load": (
        lambda r: change(r, range(60, 64), desired=3), "never fewer replicas while work is left",
    ),
    "a pod gone under load": (
        lambda r: change(r, range(100, 103), pods=9), "never fewer replicas while work is left",
    ),
    "a jump": (lambda r: change(r, range(45, 60), desired=7), "rises by the policy"),
    "an early fall": (lambda r: change(r, range(195, 246), desired=5), "falls by the policy"),
    "too deep a fall": (lambda r: change(r, range(246, END), desired=2), "falls by the policy"),
    "never back": (_without_a_return, "back to 2, the other pods gone"),
    "a pod still ending": (lambda r: change(r, range(300, END), ending=1), "back to 2, the other pods gone"),
    "a lost e-mail": (_without_one_delivery, "every accepted e-mail delivered"),
    "nothing accepted": (lambda r: replace(r, accepted={}), "every accepted e-mail delivered"),
    "a ledger that forgot": (lambda r: replace(r, ledger_kept=False), "every accepted e-mail delivered"),
    "a doubled e-mail": (_with_one_delivered_twice, "none delivered twice"),
    "a failed request": (
        lambda r: replace(r, failed_requests=1, failures={"POST /tasks: 503": 1}), "no failed request",
    ),
    "nothing followed": (lambda r: replace(r, followed=0), "followed e-mails seen completed by the API"),
    "too low a rate": (
        lambda r: replace(r, plan=replace(r.plan, rate=12.0)), "the rate was kept up (open loop)",
    ),
    "no probe": (lambda r: replace(r, probe_s=None), "the target delivers to the test mail server"),
    "a blind stretch": (_with_samples_missing, "watched without a gap over 10 s"),
    "an interruption": (lambda r: replace(r, error="interrupted"), "ran to its end"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_fails_its_check(fault: str) -> None:
    doctor, check = FAULTS[fault]
    record = doctor(good())
    assert check in failed(record)
    assert summary(record)["passed"] is False


def test_every_check_has_a_fault_that_fails_it() -> None:
    shown = {check for _, check in FAULTS.values()} - {"10 ready within 40 s"}
    assert {check.name for check in judge(good())} == shown


def test_a_control_run_that_reaches_the_maximum_fails() -> None:
    record = change(good(Kind.CONTROL), range(150, 151), desired=10)
    assert "a third of the rate stays below 10" in failed(record)


def test_a_control_run_cut_short_fails() -> None:
    record = replace(good(Kind.CONTROL), plan=replace(good(Kind.CONTROL).plan, hold_s=300))
    assert "a third of the rate stays below 10" in failed(record)


def test_a_readiness_probe_that_is_late_once_is_no_fault() -> None:
    assert failed(change(good(), range(130, 132), ready=9)) == set()


def test_falling_right_after_the_work_is_done_is_no_fault_when_the_window_is_over() -> None:
    assert "never fewer replicas while work is left" not in failed(change(good(), range(182, 183), desired=9))


def test_a_record_without_any_sample_fails_rather_than_breaks() -> None:
    record = replace(good(), samples=(), marks={}, accepted={}, deliveries=(), error="the cluster went away")
    assert {"starts with 2 ready", "ran to its end", "back to 2, the other pods gone"} <= failed(record)
    assert summary(record)["replicas"] == {"start": 0, "peak": 0, "end": 0}


def test_a_record_reads_back_from_disk_as_it_was_written(tmp_path: Path) -> None:
    records.write(good(), tmp_path)
    assert records.read(tmp_path) == good()


def test_the_figures_are_those_of_the_record() -> None:
    figures = summary(_with_one_delivered_twice(_without_one_delivery(good())))
    assert figures["replicas"] == {"start": 2, "peak": 10, "end": 2}
    assert figures["seconds"]["to_peak"] == 54
    assert figures["seconds"]["to_start"] == 126
    assert (figures["accepted"], figures["delivered"]) == (1490, 1489)
    assert (figures["lost"], figures["duplicated"]) == (1, 1)
    assert figures["accepted_to_delivered_s"]["p50"] == pytest.approx(0.2)
