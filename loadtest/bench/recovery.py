"""How long until another worker begins what a killed or a stopped one held; every peer at the same time.

Killed: two workers, each seen to run a probe; one of them begins a task; SIGKILL to it and all its
processes; the clock stops when the other begins the task. With the settings of the other measurements, and
for those that did not come back, again with each documented time-out at 10 s and a task a second: who is
crash-safe is seen, not told.

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
from loadtest.bench.trial import Trial

LIMIT_S = 120.0
UP_S = 90.0
"""Twenty workers start at once on two cores."""
NAP_S = 500.0
PLACES = 4
WAITING = 10
TICK_S = 0.05
PROBE_S = 0.3


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
    with (
        RedisServer(bench.children, bench.cores.others) as redis,
        Trial(peer, bench, redis, short=short, concurrency=PLACES) as trial,
    ):
        trial.open_client()
        workers = trial.start_worker(), trial.start_worker()
        _await_each(trial, workers)
        trial.order("nap", name="held", nap_s=NAP_S)
        begun = trial.wait_for_note("begin", workers[0], UP_S, name="held")
        holder = next(worker for worker in workers if begun.pid in cpu.tree(worker.pid))
        theirs = set(cpu.tree(holder.pid))
        holder.kill()
        return _after(trial, time.monotonic(), theirs, {"held"}, 1, limit_s, trickle=short)


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
            _await_each(first, (second.start_worker(),))
            theirs = set(cpu.tree(stopping.pid))
            stopping.terminate()
            signalled_s = time.monotonic()
            waited_s = _after(first, signalled_s, theirs, waiting, WAITING, limit_s)
            left_s = max(0.0, signalled_s + limit_s - time.monotonic())
            return Stopped(waited_s, _after(first, signalled_s, theirs, naps, 1, left_s))


def _begun(trial: Trial) -> set[str]:
    return {note.words[1] for note in trial.notes() if note.words[0] == "begin"}


def _await_each(trial: Trial, workers: tuple[Child, ...]) -> None:
    """Sends probes until each of these workers has run one: it is up and takes tasks."""
    end = time.monotonic() + UP_S
    number = 0
    while True:
        pids = {note.pid for note in trial.notes() if note.words[0] == "begin"}
        if all(pids & set(cpu.tree(worker.pid)) for worker in workers):
            return
        for worker in workers:
            worker.check()
        if time.monotonic() > end:
            raise BenchError(f"{trial.peer.name}: a worker took no probe within {UP_S:g} s")
        trial.order("nap", name=f"probe-{number}", nap_s=PROBE_S)
        number += 1
        time.sleep(PROBE_S)


def _after(
    trial: Trial,
    since_s: float,
    theirs: set[int],
    names: set[str],
    enough: int,
    limit_s: float,
    *,
    trickle: bool = False,
) -> float | None:
    """Seconds until so many of the tasks were begun by another worker; 0 where they had been before.

    `trickle` sends a task a second meanwhile: some queues look for lost tasks only when new ones come.
    """
    end = time.monotonic() + limit_s
    next_s = time.monotonic()
    while time.monotonic() < end:
        first: dict[str, float] = {}
        for note in trial.notes():
            if note.words[0] == "begin" and note.words[1] in names and note.pid not in theirs:
                first.setdefault(note.words[1], note.at_s)
        if len(first) >= enough:
            return max(0.0, sorted(first.values())[enough - 1] - since_s)
        if trickle and time.monotonic() >= next_s:
            trial.order("nap", name="trickle", nap_s=0.0)
            next_s += 1
        time.sleep(TICK_S)
    return None
