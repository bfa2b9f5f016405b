"""When which fault is injected where: drawn up front, a pure function of the seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from loadtest.chaos.record import Kind

PERIOD_S: dict[Kind, float] = {
    Kind.WORKER_KILL: 10.0, Kind.WORKER_TERM: 12.0, Kind.WORKER_FREEZE: 25.0, Kind.WORKER_CUT: 4.0,
    Kind.WORKER_STALL: 16.0, Kind.API_KILL: 14.0, Kind.API_CUT: 4.0, Kind.API_STALL: 20.0,
    Kind.REDIS_KILL: 18.0,
}  # fmt: skip
"""One of a kind in so many seconds of load, on average; of each kind one at least."""
SPAN = (0.08, 0.9)
"""The part of the load in which faults begin: some traffic before, and some to hit until the end."""
REPLACED_S = 3.0
"""A killed process and its successor are left alone for so long: one that does not run yet cannot be hit."""
REDIS_DOWN_S = (0.2, 1.5)
THAW_AFTER_LEASE_S = (0.5, 2.0)
SHORT_STALL_S = (0.5, 1.5)
_CUTS = (Kind.WORKER_CUT, Kind.API_CUT)
_STALLS = (Kind.WORKER_STALL, Kind.API_STALL)
_WHOLE = {Kind.REDIS_KILL: "redis", Kind.ROLLING_UPDATE: "deployments"}
"""What there is one of."""
_EXCLUSIVE = (Kind.WORKER_KILL, Kind.WORKER_TERM, Kind.WORKER_FREEZE, Kind.API_KILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A fault to come. `duration_s`: Redis down, a process frozen, a line stalled.

    A cut lets `after_bytes` of a request, or of a reply to one, pass before the connection goes.
    """

    at_s: float
    kind: Kind
    target: str
    duration_s: float = 0.0
    side: str = ""
    after_bytes: int = 0


def counts(load_s: float) -> dict[Kind, int]:
    """How many of each kind a load of this length gets."""
    return {kind: max(1, round(load_s / period_s)) for kind, period_s in PERIOD_S.items()}


def draw(
    seed: int, load_s: float, how_many: Mapping[Kind, int], *, workers: int, apis: int, lease_s: float
) -> tuple[Planned, ...]:
    """The faults in order of time. Each kind is spread over the load, one drawn time in each stretch."""
    random = Random(seed)  # noqa: S311 - to be repeated, not secret
    times = sorted(
        (load_s * (SPAN[0] + (SPAN[1] - SPAN[0]) * (index + random.random()) / number), kind, index)
        for kind, number in sorted(how_many.items())
        for index in range(number)
    )
    busy_until: dict[str, float] = {}
    planned = [
        _one(random, at_s, kind, index, (workers, apis), lease_s, busy_until) for at_s, kind, index in times
    ]
    return tuple(sorted(planned, key=lambda fault: fault.at_s))


def _one(
    random: Random, at_s: float, kind: Kind, index: int, places: tuple[int, int], lease_s: float,
    busy_until: dict[str, float],
) -> Planned:  # fmt: skip
    target = _target(random, kind, places, at_s, busy_until)
    duration_s = _duration_s(random, kind, index, lease_s)
    if kind in _EXCLUSIVE:
        at_s = max(at_s, busy_until.get(target, 0.0))
        busy_until[target] = at_s + duration_s + REPLACED_S
    if kind not in _CUTS:
        return Planned(at_s=at_s, kind=kind, target=target, duration_s=duration_s)
    side = "reply" if index % 2 == 0 else "request"
    return Planned(
        at_s=at_s, kind=kind, target=target, side=side,
        after_bytes=random.randint(0, 4) if side == "reply" else random.randint(1, 300),
    )  # fmt: skip


def _target(
    random: Random, kind: Kind, places: tuple[int, int], at_s: float, busy_until: dict[str, float]
) -> str:
    """The process to hit: one that is left alone by no other fault, else the one soonest free."""
    if kind in _WHOLE:
        return _WHOLE[kind]
    letter, number = ("w", places[0]) if kind.startswith("worker") else ("a", places[1])
    names = [f"{letter}{place}" for place in range(number)]
    free = [name for name in names if busy_until.get(name, 0.0) <= at_s]
    return random.choice(free) if free else min(names, key=lambda name: busy_until[name])


def _duration_s(random: Random, kind: Kind, index: int, lease_s: float) -> float:
    if kind is Kind.REDIS_KILL:
        return random.uniform(*REDIS_DOWN_S)
    if kind is Kind.WORKER_FREEZE:
        return lease_s + random.uniform(*THAW_AFTER_LEASE_S)
    if kind in _STALLS:  # every other one outlasts a worker's lease
        longer = kind is Kind.WORKER_STALL and index % 2 == 1
        return lease_s + random.uniform(*THAW_AFTER_LEASE_S) if longer else random.uniform(*SHORT_STALL_S)
    return 0.0
