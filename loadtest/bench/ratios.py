"""Ratios between figures of the same round, with the least and the greatest of all rounds. Pure."""

from collections.abc import Iterable
from statistics import median

import msgspec

from loadtest.bench.catalogue import OWN, Peer
from loadtest.bench.course import Rounds


class Ratio(msgspec.Struct, frozen=True):
    """The median of the rounds' ratios, and how far they went."""

    value: float
    min: float
    max: float


def of_rounds(ours: list[float | None], theirs: list[float | None]) -> Ratio | None:
    """Round by round; None where no round has both."""
    found = [a / b for a, b in zip(ours, theirs, strict=False) if a is not None and b]
    return Ratio(median(found), min(found), max(found)) if found else None


def column(rounds: Rounds, subject: str, figure: str) -> list[float | None]:
    """One figure of one subject, a value a round; None for a round that failed."""
    return [row.get(figure) for row in rounds.get(subject, [])]


def best(rounds: Rounds, subjects: Iterable[str], figure: str) -> list[float | None]:
    """In each round the highest figure of these subjects."""
    columns = [column(rounds, subject, figure) for subject in subjects]
    length = max(map(len, columns), default=0)
    cells = [[c[i] for c in columns if i < len(c)] for i in range(length)]
    return [max((v for v in row if v is not None), default=None) for row in cells]


def of_worker(rounds: Rounds, peers: Iterable[Peer], crash_safe: dict[str, bool]) -> dict[str, Ratio | None]:
    """This worker to the best peer that survives a SIGKILL, and to the best that keeps results as well."""
    safe = [peer for peer in peers if peer.name != OWN and crash_safe[peer.name]]
    ours = column(rounds, OWN, "per_s")
    return {
        "worker_to_best_crash_safe_peer": of_rounds(ours, best(rounds, [p.name for p in safe], "per_s")),
        "worker_to_best_with_results": of_rounds(
            ours, best(rounds, [p.name for p in safe if p.results], "per_s")
        ),
    }


_SERVERS = {
    "api_to_bare_aiohttp": "bare aiohttp",
    "api_to_aiohttp_pipeline": "aiohttp, pipeline",
    "api_to_fastapi_arq": "FastAPI, arq",
    "api_to_flask": "Flask, gunicorn",
}


def of_api(rounds: Rounds) -> dict[str, Ratio | None]:
    """This API to each of the others."""
    ours = column(rounds, "this API", "per_s")
    return {key: of_rounds(ours, column(rounds, name, "per_s")) for key, name in _SERVERS.items()}
