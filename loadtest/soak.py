"""`python -m loadtest.soak`: a steady rate for ten minutes, while the memory of every process is watched."""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp
import uvloop

from loadtest.chaos.clients import TIMEOUT_S, Clients
from loadtest.chaos.options import parse
from loadtest.chaos.processes import ROOT, Place, StartError
from loadtest.chaos.scene import Scene, scene

SAMPLE_S = 5.0
RETENTION_S = 20
"""Finished tasks go soon, so that what is stored stays the same while thousands pass through."""
WARM_UP_SHARE = 0.3
GROWTH_SHARE = 0.05
GROWTH_BYTES = 2_000_000
"""Two samples of an idle CPython differ by about a megabyte: arenas and caches come and go."""
INTERRUPTED = 130


def grown(samples: Sequence[int]) -> float:
    """By how much (a share) memory grew from the middle to the end; the warm-up is left out.

    Medians of a third each, so that no single sample decides.
    """
    steady = samples[int(len(samples) * WARM_UP_SHARE) :]
    third = len(steady) // 3
    if third < 1:
        raise ValueError("too few samples to tell")
    early, late = statistics.median(steady[:third]), statistics.median(steady[-third:])
    return (late - early) / early


def is_flat(samples: Sequence[int]) -> bool:
    """At most 5 % more, or 2 MB of what is a small process."""
    steady = samples[int(len(samples) * WARM_UP_SHARE) :]
    return grown(samples) <= max(GROWTH_SHARE, GROWTH_BYTES / statistics.median(steady))


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _places(stage: Scene) -> dict[str, Place]:
    return {place.name: place for place in (*stage.services, stage.redis.place)}


async def _watch(places: Mapping[str, Place], samples: dict[str, list[int]]) -> None:
    while True:
        for name, place in places.items():
            samples[name].append(resident_bytes(place.pid))
        mib = {name: f"{taken[-1] / 1_048_576:.1f}" for name, taken in samples.items()}
        print(f"soak: MiB {mib}", flush=True)
        await asyncio.sleep(SAMPLE_S)


async def _soak(minutes: float, rate: float, out: Path) -> bool:
    tasks = int(minutes * 60 * rate)
    options = parse(
        [
            *("run", "--tasks", str(tasks), "--rate", str(rate), "--workers", "2", "--apis", "1"),
            *("--faults", "", "--mail", "", "--out", str(out)),
        ]
    )
    async with (
        scene(options, "everysec", out / time.strftime("%H%M%S")) as stage,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as http,
    ):
        clients = Clients(http, stage.apis)
        await stage.await_workers(clients.stats)
        places = _places(stage)
        samples: dict[str, list[int]] = {name: [] for name in places}
        watching = asyncio.create_task(_watch(places, samples))
        try:
            await clients.load(tasks, rate)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        accidents = stage.accidents()
    return _publish(out, tasks, samples, accidents)


def _publish(out: Path, tasks: int, samples: Mapping[str, Sequence[int]], accidents: list[str]) -> bool:
    growth = {name: round(grown(taken), 4) for name, taken in samples.items()}
    passed = not accidents and all(map(is_flat, samples.values()))
    result = {
        "passed": passed, "accepted": tasks, "growth": growth, "accidents": accidents, "rss_bytes": samples,
    }  # fmt: skip
    path = out / "result.json"
    path.write_text(json.dumps(result, indent=1))
    print(f"{'PASSED' if passed else 'FAILED'}: growth {growth} {accidents or ''}: {path}")
    return passed


def main() -> int:
    """Exit status 0 where memory stayed flat, 1 where not, 2 for wrong options, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default %(default)s)")
    parser.add_argument("--rate", type=float, default=100.0, help="e-mails a second (default %(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "soak", help="where results go")
    given = parser.parse_args()
    if given.minutes * 60 / SAMPLE_S < 6 or given.rate <= 0:
        parser.error("--minutes must leave room for 6 samples (0.5), and --rate be above 0")
    given.out.mkdir(parents=True, exist_ok=True)
    os.environ["RETENTION_S"] = str(RETENTION_S)  # the workers inherit it
    try:
        return 0 if uvloop.run(_soak(given.minutes, given.rate, given.out.resolve())) else 1
    except StartError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("soak: interrupted, every process of it was ended", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
