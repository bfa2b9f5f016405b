"""The recorded artefact of a run: what was planned, seen, accepted and delivered; on disk and back."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from loadtest.cluster import Policy

RECORD = "record.json"
ACCEPTED = "accepted.tsv"
DELIVERIES = "deliveries.tsv"


class Kind(StrEnum):
    """What a run is to show."""

    PROOF = "proof"
    CONTROL = "control"


class Phase(StrEnum):
    """Where a run is."""

    SETTLE = "settle"
    IDLE = "idle"
    CALIBRATE = "calibrate"
    BASELINE = "baseline"
    LOAD = "load"
    HOLD = "hold"
    DRAIN = "drain"
    COOL = "cool down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One second. Counts are totals of the run; None is what could not be read or is not known yet."""

    t: float
    """Seconds since the run's start."""
    phase: Phase
    desired: int
    ready: int
    pods: int
    ending: int
    cpu_percent: int | None = None
    cpu_m: float | None = None
    queue_length: int = 0
    in_flight: int = 0
    accepted: int = 0
    delivered: int = 0
    failed: int = 0
    accepted_per_s: float = 0.0
    delivered_per_s: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    machine_percent: float | None = None

    @property
    def outstanding(self) -> int:
        """Accepted and not delivered yet: the backlog, by what went in and what came out."""
        return max(0, self.accepted - self.delivered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What was loaded."""

    context: str
    namespace: str
    api_url: str
    mail_url: str
    worker_image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What one mail costs, measured on the workers that are to be scaled."""

    rate: float
    idle_m_per_pod: float
    busy_m: float
    """Milli-cores of all workers together under `rate`."""
    cpu_ms_per_mail: float
    machine_idle_percent: float | None = None
    machine_percent_per_mail_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the run sets out to do."""

    kind: Kind
    rate: float
    """E-mails a second that are offered, whatever the answers."""
    baseline_s: float
    hold_s: float
    peak_limit_s: float
    """The bar for load to all replicas ready."""
    domain: str
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that a verdict needs."""

    plan: Plan
    target: Target
    policy: Policy
    started_at: str
    calibration: Calibration | None = None
    probe_s: float | None = None
    """Seconds in which the probe reached the mail server; None when none was sent."""
    marks: dict[str, float] = field(default_factory=dict[str, float])
    """When each phase began, in seconds since the run's start; `end` is the last moment."""
    samples: tuple[Sample, ...] = ()
    failures: dict[str, int] = field(default_factory=dict[str, int])
    failed_requests: int = 0
    followed: int = 0
    ledger_kept: bool = True
    """False when the mail server started again during the run and forgot what it had seen."""
    error: str | None = None
    accepted: dict[str, float] = field(default_factory=dict[str, float])
    """Id to seconds since 1970 of the answer."""
    deliveries: tuple[tuple[str, float], ...] = ()
    """Id and seconds since 1970, as the mail server saw them; one id may be there twice."""

    def during(self, *phases: Phase) -> list[Sample]:
        """The samples of some phases, in order."""
        return [sample for sample in self.samples if sample.phase in phases]


def seconds_since_1970(rfc3339: str) -> float:
    """An RFC 3339 time as a number."""
    return datetime.fromisoformat(rfc3339).timestamp()


def write(record: Record, directory: Path) -> None:
    """Put a record on disk: the long lists of ids as tables, the rest as JSON."""
    directory.mkdir(parents=True, exist_ok=True)
    rest = msgspec.to_builtins(record)
    del rest["accepted"], rest["deliveries"]
    (directory / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(rest), indent=1))
    _write_table(directory / ACCEPTED, record.accepted.items())
    _write_table(directory / DELIVERIES, record.deliveries)


def read(directory: Path) -> Record:
    """A record from disk. Raises OSError or msgspec.ValidationError when it is not there or not one."""
    rest = msgspec.json.decode((directory / RECORD).read_bytes(), type=dict[str, object])
    rows = _read_table(directory / DELIVERIES)
    rest |= {"accepted": dict(_read_table(directory / ACCEPTED)), "deliveries": rows}
    return msgspec.convert(rest, Record)


def _write_table(path: Path, rows: Iterable[tuple[str, float]]) -> None:
    lines = (f"{task_id}\t{at:.6f}\n" for task_id, at in rows)
    path.write_text("".join(lines), encoding="utf-8")


def _read_table(path: Path) -> list[tuple[str, float]]:
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [(task_id, float(at)) for task_id, at in rows]
