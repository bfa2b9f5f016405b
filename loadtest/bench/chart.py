"""The charts of a result: bars with the spread of the rounds, as PNG."""

# pyright: reportUnknownMemberType=false
# (the library leaves parts of its types open)

from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loadtest.bench.catalogue import OWN
from loadtest.bench.course import Rounds
from loadtest.bench.ratios import column
from loadtest.bench.result import Result

OURS, SAFE, UNSAFE = "#2563eb", "#64748b", "#cbd5e1"
_PICTURES = (
    ("worker", "per_s", "Tasks a second, one worker process on one core, no-op handler"),
    ("api", "per_s", "POST /tasks a second, one process on one core"),
    ("enqueue", "single_per_s", "Enqueues a second, one call at a time"),
    ("enqueue", "batch_per_s", "Enqueues a second, batches of 1,000"),
    ("latency", "p99_ms", "Milliseconds from enqueue to handler start, 99th percentile, 200 tasks/s"),
)


def draw(result: Result, folder: Path) -> list[Path]:
    """One picture for each of these measurements that was made."""
    made: list[Path] = []
    for name, figure, title in _PICTURES:
        rounds = result.figures.get(name, {})
        spreads = _spreads(rounds, figure)
        if spreads:
            made.append(_bars(spreads, title, result, folder / f"{name}-{figure}.png"))
    return made


def _spreads(rounds: Rounds, figure: str) -> list[tuple[str, float, float, float]]:
    """Subject, median, least, greatest; the lowest first, as bars are drawn from below."""
    found: list[tuple[str, float, float, float]] = []
    for subject in rounds:
        values = [value for value in column(rounds, subject, figure) if value is not None]
        if values:
            found.append((subject, median(values), min(values), max(values)))
    return sorted(found, key=lambda row: row[1])


def _colour(subject: str, result: Result) -> str:
    row = result.peers.get(subject)
    if subject in (OWN, "this API"):
        return OURS
    return SAFE if row is None or row.crash_safe else UNSAFE


def _bars(spreads: list[tuple[str, float, float, float]], title: str, result: Result, path: Path) -> Path:
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(8, 0.8 + 0.36 * len(spreads)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        middles = [row[1] for row in spreads]
        below = [row[1] - row[2] for row in spreads]
        above = [row[3] - row[1] for row in spreads]
        names = [row[0] for row in spreads]
        colours = [_colour(name, result) for name in names]
        axes.barh(names, middles, xerr=[below, above], color=colours, error_kw={"lw": 1, "capsize": 2})
        for number, row in enumerate(spreads):
            shown = f"{row[1]:,.0f}" if row[1] >= 100 else f"{row[1]:.2f}"
            axes.annotate(f" {shown}", (row[3], number), va="center")
        axes.set_xlim(0, max(row[3] for row in spreads) * 1.15)
        axes.set_title(title, loc="left")
        axes.text(
            1, -0.02 - 0.5 / len(spreads), "pale: loses a killed worker's task; line: all rounds",
            transform=axes.transAxes, ha="right", va="top", fontsize=7,
        )  # fmt: skip
        figure.savefig(path, dpi=140)
    return path
