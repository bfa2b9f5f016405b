"""What a worker with nothing to do costs: its share of a core, and commands to Redis a second.

Commands are counted by Redis' MONITOR; those that a script calls inside Redis are no commands of a client.
All peers idle at the same time, each on a Redis of its own.
"""

import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass

import msgspec

from loadtest.bench import cpu
from loadtest.bench.catalogue import Peer
from loadtest.bench.children import BenchError, Child
from loadtest.bench.course import Bench, Rounds, say
from loadtest.bench.redisserver import RedisServer
from loadtest.bench.trial import Trial

IDLE_S = 20.0
SETTLE_S = 5.0
UP_S = 90.0


class Idle(msgspec.Struct, frozen=True, kw_only=True):
    """Over some 20 s."""

    cpu_percent: float
    commands_per_s: float


@dataclass(frozen=True, slots=True)
class _Watched:
    worker: Child
    monitor: Child
    cpu_s: float
    lines: int


def clients_commands(monitored: str) -> int:
    """Commands among the lines of MONITOR: not its own OK, nor what scripts called."""
    lines = monitored.splitlines()
    return sum(1 for line in lines if line[:1].isdigit() and " lua]" not in line.split('"', 1)[0])


def run(bench: Bench) -> Rounds:
    """One round: all peers side by side."""
    seconds = max(2.0, IDLE_S * bench.scale)
    say(f"  every worker idles for {seconds:g} s, side by side")
    found: Rounds = {}
    with ExitStack() as stack:
        watched: dict[str, _Watched] = {}
        workers: dict[str, tuple[Child, RedisServer]] = {}
        for peer in bench.peers:
            try:
                workers[peer.name] = _started(peer, bench, stack)
            except BenchError as error:
                found[peer.name] = [{"error": str(error)}]
        time.sleep(SETTLE_S)
        for name, (worker, redis) in workers.items():
            monitor = _monitor(redis, bench)
            watched[name] = _Watched(worker, monitor, cpu.seconds(worker.pid), _lines(monitor))
        began = time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - began
        for name, one in watched.items():
            used_s = cpu.seconds(one.worker.pid) - one.cpu_s
            commands = _lines(one.monitor) - one.lines
            figures = Idle(cpu_percent=100 * used_s / took_s, commands_per_s=commands / took_s)
            found[name] = [msgspec.to_builtins(figures)]
    return {peer.name: found[peer.name] for peer in bench.peers}


def _started(peer: Peer, bench: Bench, stack: ExitStack) -> tuple[Child, RedisServer]:
    """A worker that has run one task and has nothing more to do."""
    redis = stack.enter_context(RedisServer(bench.children, bench.cores.others))
    trial = stack.enter_context(Trial(peer, bench, redis, expected=1))
    trial.open_client()
    worker = trial.start_worker()
    trial.order("one", count=1)
    trial.wait_for_note("last", worker, UP_S)
    trial.close_client()
    return worker, redis


def _monitor(redis: RedisServer, bench: Bench) -> Child:
    program = shutil.which("redis-cli")
    if program is None:
        raise BenchError("redis-cli is missing: apt-get install redis-tools")
    name = f"monitor-{redis.port}"
    return bench.children.start(name, [program, "-p", str(redis.port), "MONITOR"], core=bench.cores.others)


def _lines(monitor: Child) -> int:
    return clients_commands(monitor.log.read_text(errors="replace"))
