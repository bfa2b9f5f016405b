"""From the call that enqueues to the handler's start, at 200 tasks a second on an idle worker."""

import msgspec

from loadtest.bench.catalogue import OWN, Peer
from loadtest.bench.children import BenchError
from loadtest.bench.course import Bench
from loadtest.bench.redisserver import RedisServer
from loadtest.bench.trial import Trial

RATE = 200
TASKS = 2_000
WARM_UP = 50
LIMIT_S = 60
MODULES = {"peer_taskiq", "peer_saq", "peer_docket", "peer_arq", "peer_dramatiq", "peer_blpop"}
"""The peers whose latency is of interest: the others poll, or are slower still."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one peer."""

    tasks: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def compared(peers: tuple[Peer, ...]) -> list[Peer]:
    """This queue, and of the others one row each."""
    return [p for p in peers if p.name == OWN or (p.module in MODULES and p.in_recovery)]


def summary(delays_s: list[float]) -> Latency:
    """Percentiles by the nearest rank."""
    ordered = sorted(delays_s)

    def rank(share: float) -> float:
        return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return Latency(tasks=len(ordered), p50_ms=rank(0.5), p99_ms=rank(0.99), max_ms=1_000 * ordered[-1])


def measure(peer: Peer, bench: Bench) -> Latency:
    """Raises BenchError when not every task came. The first 50 warm up and are left out."""
    tasks = WARM_UP + max(50, int(TASKS * bench.scale))
    with (
        RedisServer(bench.children, bench.cores.others) as redis,
        Trial(peer, bench, redis, expected=tasks) as trial,
    ):
        trial.open_client()
        worker = trial.start_worker()
        trial.order("steady", rate=RATE, count=1)
        trial.wait_until_drained(LIMIT_S)  # the worker is up
        trial.order("steady", rate=RATE, count=tasks - 1)
        trial.wait_for_note("last", worker, LIMIT_S)
        delays_s = [float(note.words[1]) for note in trial.notes() if note.words[0] == "delay"]
    if len(delays_s) != tasks:
        raise BenchError(f"{peer.name}: {tasks} tasks were sent and {len(delays_s)} timed")
    return summary(delays_s[WARM_UP:])
