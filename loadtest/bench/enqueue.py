"""Enqueues a second from one process on one core: a call at a time, and in batches of 1,000.

The measured process is the client; Redis has the other core. A batch is whatever each queue documents for
several tasks; where that is nothing, calls at once on an asyncio loop, or one after the other.
"""

import msgspec

from loadtest.bench.catalogue import Peer
from loadtest.bench.course import Bench
from loadtest.bench.redisserver import RedisServer
from loadtest.bench.trial import Trial

BATCH = 1_000
SINGLE_S = 1.0
"""About how long the calls one by one take: a first short run finds how many that is."""
PROBE = 200


class Enqueues(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one peer."""

    single_per_s: float
    batch_per_s: float


def measure(peer: Peer, bench: Bench) -> Enqueues:
    """Raises BenchError when the client ends."""
    with RedisServer(bench.children, bench.cores.others) as redis, Trial(peer, bench, redis) as trial:
        trial.open_client(core=bench.cores.measured)
        probed_s = trial.order("one", count=PROBE)["seconds"]
        singles = max(PROBE, int(PROBE / probed_s * SINGLE_S * bench.scale))
        single_s = trial.order("one", count=singles)["seconds"]
        batches = BATCH * max(1, round(peer.tasks * bench.scale / BATCH))
        batch_s = trial.order("batch", count=batches, size=BATCH)["seconds"]
        trial.check_pending(PROBE + singles + batches)
    return Enqueues(single_per_s=singles / single_s, batch_per_s=batches / batch_s)
