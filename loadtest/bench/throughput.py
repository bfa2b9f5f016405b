"""Tasks a second of one worker process on one core, by the same way for every peer.

The tasks are in Redis before the worker starts. The clock runs from the first handler's call to the moment
at which the queue itself says that nothing is queued, running or unacknowledged: once the last handler has
returned, its client asks every 5 ms. The start of the process is not counted.
"""

import msgspec

from loadtest.bench import cpu
from loadtest.bench.catalogue import Peer
from loadtest.bench.course import Bench
from loadtest.bench.redisserver import RedisServer
from loadtest.bench.trial import Trial

LIMIT_S = 120


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one peer. Shares are of one core; `others` had the measured core beside the worker."""

    tasks: int
    seconds: float
    per_s: float
    per_cpu_s: float
    """Tasks per second of the worker's CPU time: steadier than `per_s` where something else has the core."""
    worker_cpu_share: float
    """From the first handler's call to the last one's, by the worker's own count."""
    redis_cpu_share: float
    others_cpu_share: float


def measure(peer: Peer, bench: Bench) -> Throughput:
    """Raises BenchError when the worker ends or does not finish within 120 s."""
    tasks = max(100, int(peer.tasks * bench.scale))
    with (
        RedisServer(bench.children, bench.cores.others) as redis,
        Trial(peer, bench, redis, expected=tasks) as trial,
    ):
        trial.open_client()
        trial.order("fill", count=tasks)
        trial.check_pending(tasks)
        worker = trial.start_worker()
        first = trial.wait_for_note("first", worker, LIMIT_S)
        core = bench.cores.measured
        before = cpu.sample(worker.pid, redis.process.pid, core)
        last = trial.wait_for_note("last", worker, LIMIT_S)
        drained_s = trial.wait_until_drained(LIMIT_S)
        took_s = drained_s - first.at_s
        cpu_s = float(last.words[1]) - float(first.words[1])
        used = cpu.shares(before, cpu.sample(worker.pid, redis.process.pid, core), took_s)
        return Throughput(
            tasks=tasks,
            seconds=took_s,
            per_s=tasks / took_s,
            per_cpu_s=tasks / cpu_s,
            worker_cpu_share=cpu_s / (last.at_s - first.at_s),
            redis_cpu_share=used.redis,
            others_cpu_share=used.others,
        )
