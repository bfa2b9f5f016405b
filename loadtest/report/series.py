"""What the chart shows: its panels, their lines, and the stretch of time; shared by page and picture."""

from collections.abc import Callable
from dataclasses import dataclass

from loadtest.record import Phase, Record, Sample

SHOWN = (Phase.BASELINE, Phase.LOAD, Phase.HOLD, Phase.DRAIN, Phase.COOL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series of a panel."""

    name: str
    of: Callable[[Sample], float | None]
    colour: str
    """A name that the page's style sheet and the picture both know."""
    step: bool = False
    area: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines that share a scale, and a level that they are held against."""

    title: str
    lines: tuple[Line, ...]
    height: int
    level: float | None = None
    level_name: str = ""
    least_top: float = 1.0
    """The scale reaches at least this far: noise of an idle system must not look like a mountain."""


def panels(record: Record) -> tuple[Panel, ...]:
    """The panels from top to bottom."""
    policy = record.policy
    return (
        Panel(
            title="Workers", height=170, level=policy.maximum, level_name=f"maximum {policy.maximum}",
            least_top=policy.maximum * 1.15,
            lines=(
                Line(name="ready", of=lambda s: s.ready, colour="blue", step=True, area=True),
                Line(name="desired", of=lambda s: s.desired, colour="ink", step=True),
            ),
        ),
        Panel(
            title="Worker CPU, % of the request", height=110, level=policy.target_percent,
            level_name=f"target {policy.target_percent} %", least_top=policy.target_percent * 1.5,
            lines=(Line(name="cpu", of=lambda s: s.cpu_percent, colour="orange", step=True, unit=" %"),),
        ),
        Panel(
            title="Waiting and in flight", height=110, least_top=10,
            lines=(
                Line(name="queue", of=lambda s: s.queue_length, colour="red", area=True),
                Line(name="in flight", of=lambda s: s.in_flight, colour="purple"),
            ),
        ),
        Panel(
            title="E-mails a second", height=110, least_top=5,
            level=record.plan.rate, level_name=f"offered {record.plan.rate:.0f}/s",
            lines=(
                Line(name="accepted", of=lambda s: s.accepted_per_s, colour="blue", unit="/s"),
                Line(name="delivered", of=lambda s: s.delivered_per_s, colour="green", unit="/s"),
            ),
        ),
        Panel(
            title="Latency of POST /tasks, ms", height=110, least_top=20,
            lines=(
                Line(name="p95", of=lambda s: s.p95_ms, colour="red", unit=" ms"),
                Line(name="p50", of=lambda s: s.p50_ms, colour="blue", unit=" ms"),
            ),
        ),
    )  # fmt: skip


def shown(record: Record) -> list[Sample]:
    """The samples of the chart: from the baseline on, or all when it did not get that far."""
    return record.during(*SHOWN) or list(record.samples)


def zero(record: Record) -> float:
    """The chart's zero: the load's start."""
    samples = shown(record)
    return record.marks.get(Phase.LOAD, samples[0].t if samples else 0.0)


def phases(record: Record) -> list[tuple[Phase, float, float]]:
    """The phases on the chart, each with its start and end in seconds from zero."""
    start, samples = zero(record), shown(record)
    begun = [(phase, record.marks[phase]) for phase in SHOWN if phase in record.marks]
    ends = [*(at for _, at in begun[1:]), samples[-1].t if samples else start]
    return [(phase, at - start, end - start) for (phase, at), end in zip(begun, ends, strict=False)]


def top(panel: Panel, samples: list[Sample]) -> float:
    """The upper end of a panel's scale."""
    values = [value for line in panel.lines for sample in samples if (value := line.of(sample)) is not None]
    return max([panel.least_top, *(value * 1.1 for value in values), (panel.level or 0) * 1.1])
