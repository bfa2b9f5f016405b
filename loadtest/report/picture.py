"""The chart as a picture, for places that show no pages."""

# pyright: reportUnknownMemberType=false
# (the library leaves parts of its types open)

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loadtest.record import Record, Sample
from loadtest.report import series
from loadtest.report.series import Panel

COLOURS = {
    "blue": "#2563eb", "green": "#16a34a", "orange": "#d97706",
    "red": "#dc2626", "purple": "#7c3aed", "ink": "#1c2430",
}  # fmt: skip


def draw(record: Record, path: Path) -> None:
    """Draw the chart as PNG; nothing when nothing was recorded."""
    samples = series.shown(record)
    if len(samples) < 2:
        return
    panels = series.panels(record)
    with mpl.rc_context({"font.size": 9, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(11, 9.5), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        ratios = [panel.height for panel in panels]
        axes: list[Axes] = list(figure.subplots(len(panels), 1, sharex=True, height_ratios=ratios))
        for panel, axis in zip(panels, axes, strict=True):
            _panel(axis, panel, samples, record)
        for phase, start, end in series.phases(record):
            if end - start > 0.04 * (samples[-1].t - samples[0].t):
                middle = (start + end) / 2
                axes[0].text(
                    middle, axes[0].get_ylim()[1] * 0.94, phase, ha="center", color="#5b6675", fontsize=8
                )
        axes[-1].set_xlabel("seconds from the load's start")
        low, high = record.policy.minimum, record.policy.maximum
        figure.suptitle(f"{low} → {high} → {low} workers under {record.plan.rate:.0f} e-mails a second")
        figure.savefig(path)


def _panel(axis: Axes, panel: Panel, samples: list[Sample], record: Record) -> None:
    zero = series.zero(record)
    for line in panel.lines:
        known = [(sample.t - zero, value) for sample in samples if (value := line.of(sample)) is not None]
        x, y = [t for t, _ in known], [value for _, value in known]
        style = "steps-post" if line.step else "default"
        axis.plot(x, y, drawstyle=style, color=COLOURS[line.colour], linewidth=1.3, label=line.name)
        if line.area:
            axis.fill_between(
                x, y, step="post" if line.step else None, color=COLOURS[line.colour], alpha=0.15
            )
    if panel.level is not None:
        axis.axhline(panel.level, color="#5b6675", linestyle="--", linewidth=0.9, label=panel.level_name)
    for number, (_, start, end) in enumerate(series.phases(record)):
        if number % 2:
            axis.axvspan(start, end, color="#e6e9ee", alpha=0.45, linewidth=0)
    axis.set_title(panel.title, loc="left", fontsize=9, fontweight="bold")
    axis.set_ylim(0, series.top(panel, samples))
    axis.set_xlim(samples[0].t - zero, samples[-1].t - zero)
    axis.grid(axis="y", color="#e6e9ee")
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=4, fontsize=7, frameon=False)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
