"""Which core is whose: the measured process has one to itself, Redis and the load share the other."""

import os
from dataclasses import dataclass


class TooFewCoresError(Exception):
    """The bench needs two cores."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Numbers of cores, as `taskset` takes them."""

    measured: int
    others: int


def choose() -> Cores:
    """The last two cores that this process may use: the first ones take most of a machine's interrupts."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise TooFewCoresError(
            "the bench needs two cores: one for what is measured, one for Redis and the load"
        )
    return Cores(measured=usable[-1], others=usable[-2])


def pinned(core: int, words: list[str]) -> list[str]:
    """The command line that runs `words` on one core (util-linux, on every Debian)."""
    return ["taskset", "--cpu-list", str(core), *words]
