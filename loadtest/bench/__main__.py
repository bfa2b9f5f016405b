"""Entry point of the bench: options, then each measurement asked for, then result, table and charts."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from loadtest.bench import (
    chart,
    cores,
    enqueue,
    environments,
    http,
    idle,
    latency,
    machine,
    mail,
    recovery,
    result,
    store,
    summary,
    table,
    throughput,
)
from loadtest.bench.children import BenchError, Children
from loadtest.bench.cores import TooFewCoresError
from loadtest.bench.course import Bench, Rounds, interleaved, say
from loadtest.bench.options import Options, parse

FAILED, USAGE_ERROR, INTERRUPTED = 1, 2, 130


def _worker(bench: Bench, _options: Options) -> Rounds:
    return interleaved("worker", bench.peers, bench, throughput.measure, "per_s")


def _enqueue(bench: Bench, _options: Options) -> Rounds:
    return interleaved("enqueue", bench.peers, bench, enqueue.measure, "single_per_s")


def _api(bench: Bench, options: Options) -> Rounds:
    http.wrk()
    return interleaved("api", http.chosen(options.servers), bench, http.measure, "per_s")


def _latency(bench: Bench, _options: Options) -> Rounds:
    return interleaved("latency", latency.compared(bench.peers), bench, latency.measure, "p50_ms")


_RUNS: dict[str, Callable[[Bench, Options], Rounds]] = {
    "worker": _worker,
    "enqueue": _enqueue,
    "api": _api,
    "latency": _latency,
    "growth": lambda bench, _: store.growth(bench),
    "memory": lambda bench, _: store.memory(bench),
    "mail": lambda bench, _: mail.run(bench),
    "idle": lambda bench, _: idle.run(bench),
    "recovery": lambda bench, _: recovery.run(bench),
}


def _run(options: Options, folder: Path) -> result.Result:
    where = cores.choose()
    started_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    facts = machine.facts(where)
    figures: dict[str, Rounds] = {}
    settings = {"rounds": options.rounds, "scale": options.scale}
    with Children(folder) as children:
        bench = Bench(
            children=children,
            cores=where,
            cache=environments.cache_folder(os.environ),
            peers=options.peers,
            rounds=options.rounds,
            scale=options.scale,
        )
        _prepare(bench, options)
        for name in options.only:
            say(f"{name}:")
            figures[name] = _RUNS[name](bench, options)
            # What is there so far outlives an interruption.
            result.write(result.concluded(started_at, facts, settings, options.peers, figures), options.out)
    return result.concluded(started_at, facts, settings, options.peers, figures)


def _prepare(bench: Bench, options: Options) -> None:
    """Every environment before the first measurement: installing beside one would spoil it."""
    names = {peer.environment for peer in bench.peers}
    if "api" in options.only:
        names |= {server.environment for server in http.chosen(options.servers)}
        http.wrk()
    for name in sorted(names - {""}):
        environments.prepare(name, bench.cache)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _finish(found: result.Result, options: Options) -> int:
    result.write(found, options.out)
    page = table.whole(found)
    (options.out / "table.md").write_text(page)
    chart.draw(found, options.out)
    print(page)
    say(f"written to {options.out}: result.json, table.md, charts")
    return FAILED if table.failures(found) else 0


def main() -> int:
    """Exit status: 0 all measured, 1 something gave no figure, 2 wrong options, 130 interrupted."""
    options = parse()
    signal.signal(signal.SIGTERM, _interrupted)
    if options.summary is not None:
        print(summary.readme(result.read(options.summary)))
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-logs-") as folder:
        try:
            return _finish(_run(options, Path(folder)), options)
        except (BenchError, TooFewCoresError) as error:
            say(str(error))
            return FAILED
        except KeyboardInterrupt:
            say("interrupted: every process that was started has ended")
            return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
