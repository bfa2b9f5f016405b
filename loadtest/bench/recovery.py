"""How long until another worker begins what a killed or a stopped one held; every peer at the same time.

Killed: worker A runs one task; worker B is there and idle (it was seen to run a probe); SIGKILL to A and
all its processes; the clock stops when B begins the task. With the settings of the other measurements, and
for those that did not come back, again with each documented time-out at 10 s: who is crash-safe is seen,
not told.

Stopped: A is full of naps and more tasks wait, some of which A may have fetched ahead; B is there with
places to spare; SIGTERM to A alone, as Kubernetes sends it.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec

from loadtest.bench import cpu
from loadtest.bench.catalogue import Peer
from loadtest.bench.children import BenchError, Child, wait_until
from loadtest.bench.course import Bench, Rounds, say
from loadtest.bench.redisserver import RedisServer
from loadtest.bench.trial import Note, Trial

LIMIT_S = 120.0
UP_S = 90.0
"""Twenty workers start at once on two cores."""
NAP_S = 500.0
PLACES = 4
WAITING = 10
TICK_S = 0.05


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the signal; None when it was not within `limit_s`, or not tried."""

    kill_tried: bool
    kill_s: float | None
    kill_short_tried: bool
    kill_short_s: float | None
    term_waiting_tried: bool
    term_waiting_s: float | None
    term_begun_tried: bool
    term_begun_s: float | None
    limit_s: float
    crash_safe: bool


@dataclass(frozen=True, slots=True)
class Stopped:
    """After SIGTERM: until the last waiting task, and the first begun one, was begun by another worker."""

    waiting_s: float | None
    begun_s: float | None


def run(bench: Bench, limit_s: float = LIMIT_S) -> Rounds:
    """One round: each peer once, all side by side."""
    peers = [peer for peer in bench.peers if peer.in_recovery]
    kills = _side_by_side("SIGKILL", peers, lambda peer: _killed(peer, bench, short=False, limit_s=limit_s))
    stops = _side_by_side("SIGTERM", peers, lambda peer: _stopped(peer, bench, limit_s))
    late = [peer for peer in peers if kills[peer.name] is None]
    shorts = _side_by_side(
        "SIGKILL, time-outs shortened", late, lambda peer: _killed(peer, bench, short=True, limit_s=limit_s)
    )
    return {peer.name: [_row(peer.name, kills, stops, shorts, limit_s)] for peer in peers}


def _row(
    name: str, kills: dict[str, Any], stops: dict[str, Any], shorts: dict[str, Any], limit_s: float
) -> dict[str, Any]:
    for found in (kills[name], stops[name], shorts.get(name)):
        if isinstance(found, BenchError):
            return {"error": str(found)}
    return msgspec.to_builtins(
        Recovery(
            kill_tried=True,
            kill_s=kills[name],
            kill_short_tried=name in shorts,
            kill_short_s=shorts.get(name),
            term_waiting_tried=True,
            term_waiting_s=stops[name].waiting_s,
            term_begun_tried=True,
            term_begun_s=stops[name].begun_s,
            limit_s=limit_s,
            crash_safe=kills[name] is not None or shorts.get(name) is not None,
        )
    )


def _side_by_side(title: str, peers: list[Peer], measure: Callable[[Peer], Any]) -> dict[str, Any]:
    """Each peer's result, or the BenchError that it met."""

    def one(peer: Peer) -> Any:
        try:
            found = measure(peer)
        except BenchError as error:
            found = error
        say(f"  {time.strftime('%H:%M:%S')} recovery, {title}: {peer.name}: {found}")
        return found

    with ThreadPoolExecutor(max(1, len(peers))) as pool:
        return dict(zip([peer.name for peer in peers], pool.map(one, peers), strict=True))


def _killed(peer: Peer, bench: Bench, *, short: bool, limit_s: float) -> float | None:
    with RedisServer(bench.children, bench.cores.others) as redis:
        first = Trial(peer, bench, redis, short=short, concurrency=PLACES)
        with first, first.beside(concurrency=PLACES * 4) as second:
            first.open_client()
            held = first.start_worker()
            first.order("nap", name="held", nap_s=NAP_S)
            first.wait_for_note("begin", held, UP_S)
            second.start_worker()
            _await_other(first, held, UP_S)
            theirs = set(cpu.tree(held.pid))
            held.kill()
            return _after(first, time.monotonic(), theirs, {"held"}, limit_s)


def _stopped(peer: Peer, bench: Bench, limit_s: float) -> Stopped:
    with RedisServer(bench.children, bench.cores.others) as redis:
        first = Trial(peer, bench, redis, concurrency=PLACES)
        with first, first.beside(concurrency=PLACES * 4) as second:
            first.open_client()
            stopping = first.start_worker()
            naps = {f"nap-{number}" for number in range(1 if peer.single else PLACES)}
            for name in sorted(naps):
                first.order("nap", name=name, nap_s=NAP_S)
            wait_until(lambda: _begun(first) >= naps, UP_S, f"{peer.name}: a worker fills up", TICK_S)
            waiting = {f"waiting-{number}" for number in range(WAITING)}
            for name in sorted(waiting):
                first.order("nap", name=name, nap_s=0.0)
            second.start_worker()
            _await_other(first, stopping, UP_S)
            theirs = set(cpu.tree(stopping.pid))
            stopping.terminate()
            signalled_s = time.monotonic()
            waited_s = _after(first, signalled_s, theirs, waiting, limit_s)
            left_s = max(0.0, signalled_s + limit_s - time.monotonic())
            return Stopped(waited_s, _first_after(first, signalled_s, theirs, naps, left_s))


def _begun(trial: Trial) -> set[str]:
    return {note.words[1] for note in trial.notes() if note.words[0] == "begin"}


def _elsewhere(trial: Trial, theirs: set[int], names: set[str]) -> dict[str, Note]:
    """The first note of each of these tasks by a process that is not among `theirs`."""
    found: dict[str, Note] = {}
    for note in trial.notes():
        if note.words[0] == "begin" and note.words[1] in names and note.pid not in theirs:
            found.setdefault(note.words[1], note)
    return found


def _await_other(trial: Trial, held: Child, timeout_s: float) -> None:
    """Sends probes until another worker than this one has run one: it is up and takes tasks."""
    end = time.monotonic() + timeout_s
    probes: set[str] = set()
    while not _elsewhere(trial, set(cpu.tree(held.pid)), probes):
        if time.monotonic() > end:
            raise BenchError(f"{trial.peer.name}: a second worker took no probe within {timeout_s:g} s")
        probes.add(f"probe-{len(probes)}")
        trial.order("nap", name=f"probe-{len(probes) - 1}", nap_s=0.0)
        time.sleep(0.5)


def _after(trial: Trial, since_s: float, theirs: set[int], names: set[str], limit_s: float) -> float | None:
    """Seconds until the last of the tasks was begun elsewhere; 0 where all had been before."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        found = _elsewhere(trial, theirs, names)
        if len(found) == len(names):
            return max(0.0, max(note.at_s for note in found.values()) - since_s)
        time.sleep(TICK_S)
    return None


def _first_after(
    trial: Trial, since_s: float, theirs: set[int], names: set[str], limit_s: float
) -> float | None:
    """Seconds until the first of the tasks was begun elsewhere."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if found := _elsewhere(trial, theirs, names):
            return max(0.0, min(note.at_s for note in found.values()) - since_s)
        time.sleep(TICK_S)
    return None
