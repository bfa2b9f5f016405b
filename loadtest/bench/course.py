"""A run's course: each subject once a round, A, B, C, A, B, C; failures are noted, not hidden."""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from loadtest.bench.catalogue import Peer
from loadtest.bench.children import BenchError, Children
from loadtest.bench.cores import Cores

Rounds = dict[str, list[dict[str, Any]]]
"""Subject (a peer, a server) to its figures, one entry a round; `{"error": words}` where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every measurement works with. `scale` is a share of the full number of tasks and seconds."""

    children: Children
    cores: Cores
    cache: Path
    peers: tuple[Peer, ...]
    rounds: int
    scale: float


class Named(Protocol):
    @property
    def name(self) -> str: ...


S = TypeVar("S", bound=Named)


def say(text: str) -> None:
    """One line to the person at the terminal; stdout is left to results."""
    print(text, file=sys.stderr, flush=True)


def interleaved(
    title: str, subjects: Iterable[S], bench: Bench, measure: Callable[[S, Bench], msgspec.Struct], shown: str
) -> Rounds:
    """Each subject once a round. `shown` is the figure that the progress line tells."""
    found: Rounds = {}
    several = list(subjects)
    for number in range(1, bench.rounds + 1):
        for subject in several:
            figures = _measured(subject, bench, measure)
            found.setdefault(subject.name, []).append(figures)
            value = figures["error"].splitlines()[0] if "error" in figures else f"{figures[shown]:,.5g}"
            clock = time.strftime("%H:%M:%S")
            say(f"  {clock} {title}, round {number} of {bench.rounds}: {subject.name}: {value} {shown}")
    return found


def _measured(subject: S, bench: Bench, measure: Callable[[S, Bench], msgspec.Struct]) -> dict[str, Any]:
    try:
        return msgspec.to_builtins(measure(subject, bench))
    except BenchError as error:
        return {"error": str(error)}
