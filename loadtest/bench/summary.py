"""README's table of a result: this queue, the best of the others, and the ratio. Pure."""

from collections.abc import Iterator
from statistics import median

from loadtest.bench import ratios
from loadtest.bench.catalogue import OWN
from loadtest.bench.course import Rounds
from loadtest.bench.mail import BARE
from loadtest.bench.result import Result
from loadtest.bench.table import NO_FIGURE, markdown, spread, times

API = "this API"
Line = tuple[str, str, str, str]


def readme(result: Result) -> str:
    """A Markdown table; only what was measured has a line."""
    head = ["what", "this queue", "beside it, in the same run", "ratio (least to greatest)"]
    facts = result.machine
    about = (
        f"{facts['processor']}, {facts['cores']} cores, Python {facts['python']}, "
        f"{result.settings['rounds']} rounds, {result.started_at[:10]}; `make bench`.\n"
    )
    return f"{about}\n{markdown(head, _lines(result))}"


def _lines(result: Result) -> Iterator[Line]:
    makers = {
        "worker": _worker, "enqueue": _enqueue, "api": _api, "latency": _latency, "growth": _growth,
        "memory": _memory, "mail": _mail, "idle": _idle, "recovery": _recovery,
    }  # fmt: skip
    for name, maker in makers.items():
        if name in result.figures:
            yield from maker(result, result.figures[name])


def _best(result: Result, rounds: Rounds, figure: str, *, results: bool, highest: bool = True) -> str | None:
    """The crash-safe peer with the best median; `results`: among those that keep results."""
    found: dict[str, float] = {}
    for name, row in result.peers.items():
        values = [v for v in ratios.column(rounds, name, figure) if v is not None]
        if name != OWN and row.crash_safe and (row.keeps_results or not results) and values:
            found[name] = median(values)
    choose = max if highest else min
    return choose(found, key=lambda name: found[name]) if found else None


def _beside(
    result: Result, rounds: Rounds, what: str, figure: str, *, results: bool = False, digits: int = 0
) -> Line:
    best = _best(result, rounds, figure, results=results)
    ours = ratios.column(rounds, OWN, figure)
    if best is None:
        return what, spread(ours, digits), NO_FIGURE, NO_FIGURE
    theirs = ratios.column(rounds, best, figure)
    return (
        what,
        spread(ours, digits),
        f"{best}: {spread(theirs, digits)}",
        times(ratios.of_rounds(ours, theirs)),
    )


def _worker(result: Result, rounds: Rounds) -> Iterator[Line]:
    what = "tasks/s of one worker process on one core"
    yield _beside(result, rounds, f"{what}; the best that survives a SIGKILL", "per_s")
    yield _beside(result, rounds, f"{what}; the best that keeps results as well", "per_s", results=True)


def _enqueue(result: Result, rounds: Rounds) -> Iterator[Line]:
    yield _beside(result, rounds, "enqueues/s of one process, call by call", "single_per_s")
    yield _beside(result, rounds, "enqueues/s of one process, in batches of 1,000", "batch_per_s")


def _api(_result: Result, rounds: Rounds) -> Iterator[Line]:
    ours = ratios.column(rounds, API, "per_s")
    for name in rounds:
        if name != API:
            theirs = ratios.column(rounds, name, "per_s")
            ratio = times(ratios.of_rounds(ours, theirs))
            yield (
                "POST /tasks a second, one process on one core",
                spread(ours),
                f"{name}: {spread(theirs)}",
                ratio,
            )


def _latency(result: Result, rounds: Rounds) -> Iterator[Line]:
    for figure, name in (("p50_ms", "median"), ("p99_ms", "99 %")):
        best = _best(result, rounds, figure, results=False, highest=False)
        ours = ratios.column(rounds, OWN, figure)
        theirs = ratios.column(rounds, best, figure) if best else []
        beside = f"{best}: {spread(theirs, 2)}" if best else NO_FIGURE
        ratio = times(ratios.of_rounds(ours, theirs))
        yield f"ms from enqueue to handler start, 200 tasks/s, {name}", spread(ours, 2), beside, ratio


def _growth(_result: Result, rounds: Rounds) -> Iterator[Line]:
    for name in rounds:
        large, small = ratios.column(rounds, name, "large_us"), ratios.column(rounds, name, "small_us")
        stored = max((v for v in ratios.column(rounds, name, "large_tasks") if v is not None), default=0)
        what = f"µs of one {name} with {stored:,.0f} tasks stored"
        beside = f"with 1,000 stored: {spread(small)}"
        yield what, spread(large), beside, times(ratios.of_rounds(large, small))


def _memory(_result: Result, rounds: Rounds) -> Iterator[Line]:
    for name in rounds:
        bytes_each = spread(ratios.column(rounds, name, "bytes_beyond_payload"))
        yield f"bytes in Redis a queued task beyond its payload, {name}", bytes_each, NO_FIGURE, NO_FIGURE


def _mail(_result: Result, rounds: Rounds) -> Iterator[Line]:
    ours, theirs = (ratios.column(rounds, name, "cpu_ms") for name in (OWN, BARE.name))
    ratio = times(ratios.of_rounds(ours, theirs))
    yield "CPU ms an e-mail by SMTP", spread(ours, 2), f"{BARE.name}: {spread(theirs, 2)}", ratio


def _idle(_result: Result, rounds: Rounds) -> Iterator[Line]:
    for figure, what in (("cpu_percent", "% of a core, idle"), ("commands_per_s", "commands/s, idle")):
        yield what, spread(ratios.column(rounds, OWN, figure), 2), NO_FIGURE, NO_FIGURE


def _recovery(_result: Result, rounds: Rounds) -> Iterator[Line]:
    columns = {
        "kill_s": "s from SIGKILL until another worker begins the task",
        "term_waiting_s": "s from SIGTERM until another worker has begun what was not",
    }
    for figure, what in columns.items():
        others = [f"{name} {_seconds(rows[0], figure)}" for name, rows in rounds.items() if name != OWN]
        yield what, _seconds(rounds[OWN][0], figure), "; ".join(others), NO_FIGURE


def _seconds(row: dict[str, float | None], figure: str) -> str:
    if "error" in row:
        return NO_FIGURE
    value = row[figure]
    return f"over {row['limit_s']:.0f}" if value is None else f"{value:.1f}"
