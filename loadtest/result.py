"""result.json: the verdict and the figures of a run, for people and pipelines."""

from pathlib import Path
from statistics import mean
from typing import Any

import msgspec

from loadtest.judge import Check, duplicated, judge, lost, seconds_between, seconds_to_start
from loadtest.record import Phase, Record, Sample
from loadtest.recorder import quantile

RESULT = "result.json"


def summary(record: Record, checks: list[Check] | None = None) -> dict[str, Any]:
    """Figures and checks of a record; `passed` is true only when every check is."""
    checks = judge(record) if checks is None else checks
    samples = record.samples
    watched = [s for s in samples if s.phase not in (Phase.SETTLE, Phase.IDLE, Phase.CALIBRATE)]
    twice = duplicated(record)
    return {
        "passed": all(check.passed for check in checks),
        "kind": record.plan.kind,
        "started_at": record.started_at,
        "replicas": {
            "start": watched[0].ready if watched else 0,
            "peak": max((s.ready for s in samples), default=0),
            "end": samples[-1].pods + samples[-1].ending if samples else 0,
        },
        "seconds": {
            "to_peak": _rounded(seconds_between(record, Phase.LOAD, Phase.HOLD)),
            "held": _rounded(seconds_between(record, Phase.HOLD, Phase.DRAIN)),
            "to_start": _rounded(seconds_to_start(record)),
            "total": _rounded(samples[-1].t if samples else None),
        },
        "accepted": len(record.accepted),
        "delivered": len({task_id for task_id, _ in record.deliveries} & set(record.accepted)),
        "lost": len(lost(record)),
        "duplicated": sum(times - 1 for times in twice.values()),
        "failed_requests": record.failed_requests,
        "followed": record.followed,
        "rate": {"offered_per_s": round(record.plan.rate, 1), "delivered_per_s": _delivered_per_s(record)},
        "latency_ms": _latency(record.during(Phase.LOAD, Phase.HOLD)),
        "accepted_to_delivered_s": _way(record),
        "cpu": _cpu(record),
        "checks": [msgspec.to_builtins(check) for check in checks],
        "error": record.error,
        "target": msgspec.to_builtins(record.target),
        "policy": msgspec.to_builtins(record.policy),
        "plan": msgspec.to_builtins(record.plan),
        "calibration": msgspec.to_builtins(record.calibration),
        "marks": {name: round(t, 1) for name, t in record.marks.items()},
        "series": [msgspec.to_builtins(sample) for sample in samples],
    }


def write(figures: dict[str, Any], directory: Path) -> Path:
    """Put result.json into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / RESULT
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1))
    return path


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)


def _delivered_per_s(record: Record) -> float | None:
    hold = record.during(Phase.HOLD)
    if len(hold) < 2 or hold[-1].t == hold[0].t:
        return None
    return round((hold[-1].delivered - hold[0].delivered) / (hold[-1].t - hold[0].t), 1)


def _latency(samples: list[Sample]) -> dict[str, float | None]:
    """Of POST /tasks: the median of the seconds' medians and 95th percentiles, and the worst second's."""
    medians = sorted(s.p50_ms for s in samples if s.p50_ms is not None)
    tails = sorted(s.p95_ms for s in samples if s.p95_ms is not None)
    return {
        "p50": _rounded(quantile(medians, 0.5)), "p95": _rounded(quantile(tails, 0.5)),
        "p95_worst_second": _rounded(quantile(tails, 1.0)),
    }  # fmt: skip


def _way(record: Record) -> dict[str, float | None]:
    """From the 201 to the mail server's ledger; both clocks are this machine's on a local cluster."""
    seen: dict[str, float] = {}
    for task_id, at in record.deliveries:
        seen.setdefault(task_id, at)
    ways = sorted(at - record.accepted[task_id] for task_id, at in seen.items() if task_id in record.accepted)
    return {
        name: _rounded(quantile(ways, share), 3)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
    }


def _cpu(record: Record) -> dict[str, float | None]:
    hold = record.during(Phase.HOLD)
    workers = [s.cpu_m for s in hold if s.cpu_m is not None]
    machine = [s.machine_percent for s in hold if s.machine_percent is not None]
    calibrated = record.calibration.cpu_ms_per_mail if record.calibration else None
    rate = _delivered_per_s(record)
    return {
        "workers_m_held": _rounded(mean(workers) if workers else None),
        "ms_per_mail_calibrated": _rounded(calibrated, 2),
        "ms_per_mail_held": _rounded(mean(workers) / rate if workers and rate else None, 2),
        "machine_percent_held": _rounded(mean(machine) if machine else None),
        "machine_percent_worst": _rounded(max(machine) if machine else None),
    }
