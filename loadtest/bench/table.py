"""The tables of a result, in Markdown. Pure."""

from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

from loadtest.bench import ratios
from loadtest.bench.course import Rounds
from loadtest.bench.ratios import Ratio
from loadtest.bench.result import Result, Row

NO_FIGURE = "—"


def markdown(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """One table."""
    names = list(head)
    rows = [names, ["---"] * len(names), *map(list, lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def spread(values: Iterable[float | None], digits: int = 0) -> str:
    """Median (least to greatest); a dash where no round has a figure."""
    found = [v for v in values if v is not None]
    if not found:
        return NO_FIGURE
    shown = f"{median(found):,.{digits}f}"
    if len(found) > 1:
        shown += f" ({min(found):,.{digits}f} to {max(found):,.{digits}f})"
    return shown


def times(ratio: Ratio | None) -> str:
    """A ratio with its spread."""
    if ratio is None:
        return NO_FIGURE
    return f"{ratio.value:.2f} × ({ratio.min:.2f} to {ratio.max:.2f})"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _safe(row: Row) -> str:
    return f"{_yes(row.crash_safe)} ({row.crash_safe_by})"


Cell = Callable[[Rounds, str], str]


def _spread_of(figure: str, digits: int = 0) -> Cell:
    return lambda rounds, name: spread(ratios.column(rounds, name, figure), digits)


_COLUMNS: dict[str, dict[str, Cell]] = {
    "worker": {
        "tasks/s": _spread_of("per_s"),
        "a CPU second": _spread_of("per_cpu_s"),
        "worker's core": _spread_of("worker_cpu_share", 2),
        "Redis' core": _spread_of("redis_cpu_share", 2),
        "others on the worker's core": _spread_of("others_cpu_share", 2),
    },
    "enqueue": {
        "one by one /s": _spread_of("single_per_s"),
        "batches of 1,000 /s": _spread_of("batch_per_s"),
    },
    "api": {
        "POST /s": _spread_of("per_s"),
        "a CPU second": _spread_of("per_cpu_s"),
        "p50 ms": _spread_of("p50_ms", 1),
        "p99 ms": _spread_of("p99_ms", 1),
        "server's core": _spread_of("server_cpu_share", 2),
        "others on the server's core": _spread_of("others_cpu_share", 2),
    },
    "latency": {"p50 ms": _spread_of("p50_ms", 2), "p99 ms": _spread_of("p99_ms", 2)},
    "growth": {"ratio of 1,000,000 to 1,000": _spread_of("ratio", 2), "µs on 1,000": _spread_of("small_us"),
               "µs on 1,000,000": _spread_of("large_us")},
    "memory": {"bytes a task beyond its payload": _spread_of("bytes_beyond_payload")},
    "mail": {"CPU ms a mail": _spread_of("cpu_ms", 3), "mails/s": _spread_of("per_s")},
    "idle": {
        "share of a core %": _spread_of("cpu_percent", 2),
        "commands/s": _spread_of("commands_per_s", 2),
    },
}  # fmt: skip
_TITLES = {
    "worker": "Tasks a second of one worker process on one core",
    "enqueue": "Enqueues a second from one process",
    "api": "POST /tasks a second on one process on one core",
    "latency": "From enqueue to handler start at 200 tasks a second",
    "growth": "Cost as the store grows",
    "memory": "Redis memory a queued task",
    "mail": "CPU an e-mail delivered by SMTP",
    "idle": "An idle worker",
    "recovery": "Recovery: seconds until another worker begins the task",
}


def _section(name: str, result: Result) -> str:
    rounds = result.figures[name]
    columns = _COLUMNS[name]
    head = ["", *columns]
    with_peers = name in ("worker", "enqueue")
    if with_peers:
        head += ["survives SIGKILL", "keeps results", "settings"]
    lines: list[list[str]] = []
    for subject in _ordered(name, rounds):
        cells = [subject, *(cell(rounds, subject) for cell in columns.values())]
        if with_peers and (row := result.peers.get(subject)):
            cells += [_safe(row), _yes(row.keeps_results), f"[{row.settings}]({row.page})"]
        lines.append(cells)
    return markdown(head, lines)


def _ordered(name: str, rounds: Rounds) -> list[str]:
    """The quickest first, where a table is about speed."""
    if name not in ("worker", "api"):
        return list(rounds)
    best = {s: median([v for v in ratios.column(rounds, s, "per_s") if v] or [0.0]) for s in rounds}
    return sorted(rounds, key=lambda subject: -best[subject])


def _recovery(rounds: Rounds) -> str:
    head = [
        "",
        "SIGKILL",
        "SIGKILL, time-outs shortened",
        "SIGTERM, not begun",
        "SIGTERM, begun",
        "crash-safe",
    ]
    lines = [[name, *_recovered(row)] for name, rows in rounds.items() for row in rows]
    return markdown(head, lines)


def _recovered(row: dict[str, Any]) -> list[str]:
    if "error" in row:
        return [row["error"].splitlines()[0], *[NO_FIGURE] * 4]
    limit = f"not within {row['limit_s']:.0f} s"

    def seconds(name: str) -> str:
        if not row[f"{name}_tried"]:
            return NO_FIGURE
        return limit if row[f"{name}_s"] is None else f"{row[f'{name}_s']:.1f}"

    cells = [seconds(name) for name in ("kill", "kill_short", "term_waiting", "term_begun")]
    return [*cells, _yes(row["crash_safe"])]


def failures(result: Result) -> list[str]:
    """A line for each round that gave no figure."""
    return [
        f"{name}, {subject}, round {number}: {row['error'].splitlines()[0]}"
        for name, rounds in result.figures.items()
        for subject, rows in rounds.items()
        for number, row in enumerate(rows, 1)
        if "error" in row
    ]


def whole(result: Result) -> str:
    """Everything that was measured, as a page."""
    facts = result.machine
    parts = [
        "# Bench\n",
        f"{result.started_at}, {facts['processor']}, {facts['cores']} cores, Python {facts['python']}, "
        f"{facts['redis']}. Rounds: {result.settings['rounds']}. Median (least to greatest).\n",
    ]
    if result.ratios:
        parts.append("## Ratios, each within a round\n")
        parts.append(markdown(["", "ratio"], [[k, times(v)] for k, v in result.ratios.items()]))
    for name, rounds in result.figures.items():
        parts.append(f"## {_TITLES[name]}\n")
        parts.append(_recovery(rounds) if name == "recovery" else _section(name, result))
    if lines := failures(result):
        parts.append("## Without a figure\n")
        parts.append("\n".join(f"- {line}" for line in lines) + "\n")
    return "\n".join(parts)
