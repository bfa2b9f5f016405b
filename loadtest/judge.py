"""The verdict on a recorded run: a pure function from the record to checks, each with its reason."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from loadtest.cluster import Step
from loadtest.record import Kind, Phase, Record, Sample

MAX_GAP_S = 10.0
"""A stretch without a sample in which replicas could have risen and fallen unseen (a step takes 15 s)."""
OFFERED_SHARE = 0.95
"""Users start at random places within a turn, and a sample can end just before a line is written."""
SLACK_S = 5.0
"""The autoscaler looks every 15 s and we look every second: an interval can appear this much shorter."""

READY_SHARE = 0.95
"""Of the hold; one readiness probe that is late for once does not take a worker away."""
WINDOW_SLACK_S = 30.0
"""The autoscaler's last high reading can be a metrics window and a look older than the load's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that a run has to show."""

    name: str
    passed: bool
    detail: str


def judge(record: Record) -> list[Check]:
    """Every check for the record's kind of run; the run passes when all do."""
    of_kind = _PROOF if record.plan.kind is Kind.PROOF else _CONTROL
    return [check(record) for check in (*of_kind, *_ALWAYS)]


def lost(record: Record) -> set[str]:
    """Accepted and never delivered."""
    return set(record.accepted) - {task_id for task_id, _ in record.deliveries}


def duplicated(record: Record) -> dict[str, int]:
    """Delivered more than once, with how often."""
    return {task_id: times for task_id, times in _deliveries(record).items() if times > 1}


def seconds_between(record: Record, start: str, end: str) -> float | None:
    """From one mark to another; None when either was not reached."""
    if start not in record.marks or end not in record.marks:
        return None
    return record.marks[end] - record.marks[start]


def seconds_to_start(record: Record) -> float | None:
    """From the load's end until only the first replicas were left, with the others' pods gone."""
    cooled = [s for s in record.during(Phase.DRAIN, Phase.COOL) if _is_at(s, record.policy.minimum)]
    stop = record.marks.get(Phase.DRAIN)
    return cooled[0].t - stop if cooled and stop is not None else None


def _deliveries(record: Record) -> Counter[str]:
    return Counter(task_id for task_id, _ in record.deliveries)


def _is_at(sample: Sample, replicas: int) -> bool:
    return sample.desired == sample.ready == sample.pods == replicas and sample.ending == 0


def _starts_at_minimum(record: Record) -> Check:
    minimum = record.policy.minimum
    samples = record.during(Phase.BASELINE)
    others = [s for s in samples if not s.desired == s.ready == s.pods == minimum]
    seconds = samples[-1].t - samples[0].t if samples else 0.0
    long_enough = seconds >= record.plan.baseline_s - 2
    return Check(
        name=f"starts with {minimum} ready",
        passed=bool(samples) and not others and long_enough,
        detail=f"{len(samples)} samples over {seconds:.0f} s, {len(others)} with another number",
    )


def _reaches_maximum(record: Record) -> Check:
    seconds = seconds_between(record, Phase.LOAD, Phase.HOLD)
    peak = max((s.ready for s in record.samples), default=0)
    limit = record.plan.peak_limit_s
    reached = peak >= record.policy.maximum and seconds is not None
    return Check(
        name=f"{record.policy.maximum} ready within {limit:.0f} s",
        passed=reached and seconds is not None and seconds <= limit,
        detail=f"at most {peak} ready" + (f", all after {seconds:.0f} s" if seconds is not None else ""),
    )


def _never_exceeds_maximum(record: Record) -> Check:
    most = max((max(s.desired, s.ready, s.pods) for s in record.samples), default=0)
    return Check(
        name=f"never more than {record.policy.maximum}",
        passed=bool(record.samples) and most <= record.policy.maximum,
        detail=f"at most {most} desired, ready or present",
    )


def _holds_maximum(record: Record) -> Check:
    samples, maximum = record.during(Phase.HOLD), record.policy.maximum
    seconds = samples[-1].t - samples[0].t if samples else 0.0
    fewest = min((min(s.desired, s.pods) for s in samples), default=0)
    ready = sum(s.ready >= maximum for s in samples) / len(samples) if samples else 0.0
    return Check(
        name=f"stays at {maximum} for longer than the scale-down window",
        passed=seconds > record.policy.down_window_s and fewest >= maximum and ready >= READY_SHARE,
        detail=f"{seconds:.0f} s of a {record.policy.down_window_s} s window, at least {fewest} there, "
        f"all ready {ready:.0%} of the time",
    )


def _never_falls_with_a_backlog(record: Record) -> Check:
    loaded = record.during(Phase.LOAD, Phase.HOLD, Phase.DRAIN)
    falls = [
        f"{before.desired}/{before.pods} to {after.desired}/{after.pods} at {after.t:.0f} s"
        for before, after in pairwise(loaded)
        if (after.desired < before.desired or after.pods < before.pods)
        and (after.phase is not Phase.DRAIN or after.outstanding or after.queue_length)
    ]
    return Check(
        name="never fewer replicas while work is left",
        passed=bool(loaded) and not falls,
        detail="; ".join(falls[:3]) or f"{len(loaded)} samples without a fall",
    )


def _rises_by_policy(record: Record) -> Check:
    faults = _breaches(record, record.policy.up, rising=True)
    return Check(
        name="rises by the policy", passed=not faults, detail="; ".join(faults[:3]) or _course(record)
    )


def _falls_by_policy(record: Record) -> Check:
    faults = _breaches(record, record.policy.down, rising=False)
    stop = record.marks.get(Phase.DRAIN)
    window = record.policy.down_window_s
    falls = (after.t for before, after in pairwise(record.samples) if after.desired < before.desired)
    first = next((t for t in falls if stop is not None and t > stop), None)
    if stop is not None and first is not None and first - stop < window - WINDOW_SLACK_S:
        faults.insert(0, f"first fall {first - stop:.0f} s after the load, before the window of {window} s")
    return Check(
        name="falls by the policy",
        passed=first is not None and not faults,
        detail="; ".join(faults[:3]) or (_course(record) if first is not None else "never fell"),
    )


def _breaches(record: Record, steps: tuple[Step, ...], *, rising: bool) -> list[str]:
    """Moves larger than any of the policy's steps allows within that step's own period (largest one wins)."""
    if not steps:
        return []
    period_s = min(step.period_s for step in steps)
    faults: list[str] = []
    samples = record.during(Phase.BASELINE, Phase.LOAD, Phase.HOLD, Phase.DRAIN, Phase.COOL)
    for index, after in enumerate(samples):
        before = next((s for s in samples[:index] if after.t - s.t < period_s - SLACK_S), after)
        if rising:
            limit = max(_moved(before.desired, step, +1) for step in steps)
            broken = after.desired > limit
        else:
            limit = min(_moved(before.desired, step, -1) for step in steps)
            broken = after.desired < limit
        if broken:
            faults.append(
                f"{before.desired} to {after.desired} within {after.t - before.t:.0f} s at {after.t:.0f} s"
            )
    return faults


def _moved(replicas: int, step: Step, sign: int) -> int:
    """Replicas after the largest move of a step, rounded as Kubernetes does (against the mover's favour)."""
    if step.kind == "Pods":
        return replicas + sign * step.value
    if sign > 0:
        return -(-replicas * (100 + step.value) // 100)
    return replicas * (100 - step.value) // 100


def _course(record: Record) -> str:
    course: list[int] = []
    for sample in record.during(Phase.BASELINE, Phase.LOAD, Phase.HOLD, Phase.DRAIN, Phase.COOL):
        if not course or course[-1] != sample.desired:
            course.append(sample.desired)
    return " → ".join(map(str, course))


def _returns_to_minimum(record: Record) -> Check:
    minimum = record.policy.minimum
    last = record.samples[-1] if record.samples else None
    seconds = seconds_to_start(record)
    return Check(
        name=f"back to {minimum}, the other pods gone",
        passed=last is not None and _is_at(last, minimum) and seconds is not None,
        detail=(
            f"desired {last.desired}, ready {last.ready}, pods {last.pods}, ending {last.ending}"
            + (f", {seconds:.0f} s after the load" if seconds is not None else "")
            if last
            else "no samples"
        ),
    )


def _control_stays_below(record: Record) -> Check:
    loaded = record.during(Phase.LOAD, Phase.HOLD)
    most = max((max(s.desired, s.ready, s.pods) for s in record.samples), default=0)
    seconds = loaded[-1].t - loaded[0].t if loaded else 0.0
    return Check(
        name=f"a third of the rate stays below {record.policy.maximum}",
        passed=most < record.policy.maximum and seconds >= record.plan.hold_s - 2,
        detail=f"at most {most} in {seconds:.0f} s of load",
    )


def _nothing_lost(record: Record) -> Check:
    missing = sorted(lost(record))
    return Check(
        name="every accepted e-mail delivered",
        passed=bool(record.accepted) and not missing and record.ledger_kept,
        detail=f"{len(record.accepted)} accepted, {len(missing)} lost"
        + (f", the first {missing[0]}" if missing else "")
        + ("" if record.ledger_kept else "; the mail server started again and forgot"),
    )


def _nothing_doubled(record: Record) -> Check:
    twice = duplicated(record)
    worst = next(iter(sorted(twice, key=lambda task_id: -twice[task_id])), None)
    return Check(
        name="none delivered twice",
        passed=bool(record.deliveries) and not twice,
        detail=f"{len(twice)} more than once" + (f", {worst} {twice[worst]} times" if worst else ""),
    )


def _nothing_failed(record: Record) -> Check:
    reasons = ", ".join(f"{reason} ({times})" for reason, times in record.failures.items())
    return Check(
        name="no failed request", passed=record.failed_requests == 0,
        detail=f"{record.failed_requests} failed" + (f": {reasons}"[:300] if reasons else ""),
    )  # fmt: skip


def _some_followed(record: Record) -> Check:
    return Check(
        name="followed e-mails seen completed by the API",
        passed=record.followed > 0,
        detail=f"{record.followed} followed from 201 to completed",
    )


def _load_was_offered(record: Record) -> Check:
    steady = record.during(Phase.HOLD)
    seconds = steady[-1].t - steady[0].t if len(steady) > 1 else 0.0
    rate = (steady[-1].accepted - steady[0].accepted) / seconds if seconds else 0.0
    return Check(
        name="the rate was kept up (open loop)",
        passed=rate >= OFFERED_SHARE * record.plan.rate,
        detail=f"{rate:.1f} of {record.plan.rate:.1f} e-mails/s accepted",
    )


def _probed(record: Record) -> Check:
    return Check(
        name="the target delivers to the test mail server",
        passed=record.probe_s is not None,
        detail=f"probe arrived after {record.probe_s:.1f} s" if record.probe_s is not None else "not shown",
    )


def _watched_throughout(record: Record) -> Check:
    watched = [s for s in record.samples if s.phase not in (Phase.SETTLE, Phase.IDLE, Phase.CALIBRATE)]
    widest = max((after.t - before.t for before, after in pairwise(watched)), default=0.0)
    return Check(
        name=f"watched without a gap over {MAX_GAP_S:.0f} s",
        passed=len(watched) > 1 and widest <= MAX_GAP_S,
        detail=f"{len(watched)} samples, the widest gap {widest:.1f} s",
    )


def _ran_to_its_end(record: Record) -> Check:
    return Check(
        name="ran to its end", passed=record.error is None, detail=record.error or "nothing cut it short"
    )


_PROOF: tuple[Callable[[Record], Check], ...] = (
    _starts_at_minimum, _reaches_maximum, _never_exceeds_maximum, _holds_maximum, _never_falls_with_a_backlog,
    _rises_by_policy, _falls_by_policy, _returns_to_minimum,
)  # fmt: skip
_CONTROL: tuple[Callable[[Record], Check], ...] = (_starts_at_minimum, _control_stays_below)
_ALWAYS: tuple[Callable[[Record], Check], ...] = (
    _nothing_lost, _nothing_doubled, _nothing_failed, _some_followed, _load_was_offered, _probed,
    _watched_throughout, _ran_to_its_end,
)  # fmt: skip
