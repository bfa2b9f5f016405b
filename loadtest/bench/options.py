"""What a run of the bench can be told."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.catalogue import PEERS, Peer, named

MEASUREMENTS = ("worker", "enqueue", "api", "latency", "growth", "memory", "mail", "idle", "recovery")
QUICK_PEERS = "dramatiq,blpop"
QUICK_SCALE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`scale` is a share of the full number of tasks and seconds."""

    only: tuple[str, ...]
    peers: tuple[Peer, ...]
    rounds: int
    scale: float
    out: Path
    summary: Path | None
    servers: tuple[str, ...] | None


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def parse(words: list[str] | None = None) -> Options:
    """Exits with status 2 and a message where an option is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench",
        description="Measures this queue beside others in one run, on two pinned cores; writes build/bench/.",
        epilog="docs/bench.md tells how each figure is measured.",
    )
    parser.add_argument("--only", type=_listed, metavar="A,B", help=f"of {', '.join(MEASUREMENTS)}")
    known = ", ".join(sorted({p.module.removeprefix("peer_") for p in PEERS} - {"own"}))
    parser.add_argument("--peers", type=_listed, metavar="A,B", help=f"of {known}; none: an empty text")
    parser.add_argument("--servers", type=_listed, metavar="A,B", help="of bare, pipeline, fastapi, flask")
    parser.add_argument("--rounds", type=int, help="how often each is measured (default 5)")
    parser.add_argument(
        "--scale", type=float, help="share of the full number of tasks and seconds (default 1)"
    )
    parser.add_argument("--quick", action="store_true", help="one round, few peers, fewer tasks: about 2 min")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder (default build/bench)")
    parser.add_argument(
        "--summary", type=Path, metavar="FOLDER", help="measure nothing: print README's table of that result"
    )
    given = parser.parse_args(words)
    only = tuple(given.only or (("worker", "enqueue", "api") if given.quick else MEASUREMENTS))
    if unknown := set(only) - set(MEASUREMENTS):
        parser.error(f"--only: no such measurement: {', '.join(sorted(unknown))}")
    names = _listed(QUICK_PEERS) if given.quick and given.peers is None else given.peers
    try:
        peers = PEERS if names is None else named(names)
    except ValueError as error:
        parser.error(f"--peers: {error}")
    rounds = given.rounds if given.rounds is not None else (1 if given.quick else 5)
    scale = given.scale if given.scale is not None else (QUICK_SCALE if given.quick else 1.0)
    if rounds < 1 or not 0 < scale <= 10:
        parser.error("--rounds must be at least 1, --scale more than 0 and at most 10")
    servers = ("bare", "pipeline") if given.quick and given.servers is None else given.servers
    return Options(
        only=only,
        peers=peers,
        rounds=rounds,
        scale=scale,
        out=given.out,
        summary=given.summary,
        servers=None if servers is None else tuple(servers),
    )
