"""The chart as inline SVG: panels over one time axis, coloured by the page's style sheet."""

from html import escape
from itertools import pairwise

from loadtest.record import Record, Sample
from loadtest.report import series
from loadtest.report.series import Line, Panel

WIDTH, LEFT, RIGHT, TOP, GAP, FOOT = 1080, 56, 16, 34, 34, 28
PLOT = WIDTH - LEFT - RIGHT
TICK_CHOICES_S = (15, 30, 60, 120, 300, 600)


def svg(record: Record) -> str:
    """The whole chart; a sentence instead when nothing was recorded."""
    samples = series.shown(record)
    if len(samples) < 2:
        return "<p>Nothing was recorded.</p>"
    scale = _Scale(record, samples)
    all_panels = series.panels(record)
    height = TOP + sum(panel.height + GAP for panel in all_panels) + FOOT
    parts = [
        f'<svg id="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="The run over time" '
        f'data-left="{LEFT}" data-plot="{PLOT}" data-from="{scale.start}" data-to="{scale.end}">'
    ]
    parts += _phases(record, scale, height)
    y = TOP + GAP / 2
    for panel in all_panels:
        parts += _panel(panel, samples, scale, y)
        y += panel.height + GAP
    parts += _time_axis(scale, y - GAP / 2)
    parts.append(f'<line id="cursor" class="cursor" y1="{TOP}" y2="{height - FOOT}" x1="-9" x2="-9"/></svg>')
    return "\n".join(parts)


class _Scale:
    """Seconds from the load's start to pixels."""

    def __init__(self, record: Record, samples: list[Sample]) -> None:
        self.zero = series.zero(record)
        self.start, self.end = samples[0].t - self.zero, samples[-1].t - self.zero

    def x(self, second: float) -> float:
        return LEFT + PLOT * (second - self.start) / ((self.end - self.start) or 1)


def _phases(record: Record, scale: _Scale, height: int) -> list[str]:
    parts: list[str] = []
    for number, (phase, start, end) in enumerate(series.phases(record)):
        left, right = scale.x(max(start, scale.start)), scale.x(min(end, scale.end))
        parts.append(
            f'<rect class="phase{number % 2}" x="{left:.1f}" y="{TOP - 24}" '
            f'width="{max(0, right - left):.1f}" height="{height - FOOT - TOP + 24}"/>'
        )
        if right - left > 45:
            parts.append(f'<text class="phase" x="{(left + right) / 2:.1f}" y="{TOP - 8}">{phase}</text>')
    return parts


def _panel(panel: Panel, samples: list[Sample], scale: _Scale, y: float) -> list[str]:
    highest = series.top(panel, samples)
    bottom = y + panel.height

    def height(value: float) -> float:
        return bottom - panel.height * value / highest

    parts = [f'<text class="title" x="{LEFT}" y="{y - 5:.1f}">{escape(panel.title)}</text>']
    for tick in _ticks(highest):
        parts.append(_across("grid", height(tick)))
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{height(tick) + 4:.1f}">{tick:g}</text>')
    if panel.level is not None:
        at = height(panel.level)
        parts.append(_across("level", at))
        name = escape(panel.level_name)
        parts.append(f'<text class="level" x="{LEFT + PLOT - 4}" y="{at - 4:.1f}">{name}</text>')
    for line in panel.lines:
        points = [
            (scale.x(sample.t - scale.zero), height(value))
            for sample in samples
            if (value := line.of(sample)) is not None
        ]
        parts += _line(line, points, bottom)
    return parts + _legend(panel, y)


def _across(kind: str, y: float) -> str:
    return f'<line class="{kind}" x1="{LEFT}" x2="{LEFT + PLOT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _line(line: Line, points: list[tuple[float, float]], bottom: float) -> list[str]:
    if not points:
        return []
    path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (_, before), (x, y) in pairwise(points):
        path += (f"H{x:.1f}" if y == before else f"H{x:.1f}V{y:.1f}") if line.step else f"L{x:.1f},{y:.1f}"
    parts: list[str] = []
    if line.area:
        parts.append(f'<path class="area {line.colour}" d="{path}V{bottom:.1f}H{points[0][0]:.1f}Z"/>')
    return [*parts, f'<path class="line {line.colour}" d="{path}"/>']


def _legend(panel: Panel, y: float) -> list[str]:
    parts: list[str] = []
    x = LEFT + 14 + 8.4 * len(panel.title)
    for line in panel.lines:
        parts.append(
            f'<rect class="key {line.colour}" x="{x:.0f}" y="{y - 12:.1f}" width="14" height="4" rx="2"/>'
        )
        parts.append(f'<text class="legend" x="{x + 19:.0f}" y="{y - 5:.1f}">{escape(line.name)}</text>')
        x += 36 + 7 * len(line.name)
    return parts


def _time_axis(scale: _Scale, y: float) -> list[str]:
    span = scale.end - scale.start
    every = next((choice for choice in TICK_CHOICES_S if span / choice <= 16), TICK_CHOICES_S[-1])
    parts: list[str] = []
    second = -every * int(-scale.start // every)
    while second <= scale.end:
        sign = "-" if second < 0 else ""
        clock = f"{sign}{abs(second) // 60}:{abs(second) % 60:02d}"
        parts.append(f'<text class="time" x="{scale.x(second):.1f}" y="{y + 6:.1f}">{clock}</text>')
        second += every
    parts.append(
        f'<text class="legend" x="{LEFT}" y="{y + 24:.1f}">minutes and seconds from the load\'s start</text>'
    )
    return parts


def _ticks(highest: float) -> list[float]:
    """Four or so round numbers from 0 up."""
    for step in (s * 10**power for power in range(-1, 7) for s in (1, 2, 5)):
        if highest / step <= 4.5:
            return [step * n for n in range(int(highest / step) + 1)]
    return [0.0]
