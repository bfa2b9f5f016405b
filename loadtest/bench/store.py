"""This queue's own store: what an operation costs on many tasks, and what a queued task takes in Redis.

`peers/own_store.py` does both in a process of its own, against the queue's client.
"""

import json
import subprocess
import sys
from typing import Any

import msgspec

from loadtest.bench.children import BenchError
from loadtest.bench.cores import pinned
from loadtest.bench.course import Bench, Rounds, interleaved, say
from loadtest.bench.redisserver import RedisServer
from loadtest.bench.trial import PEERS_FOLDER, ROOT

SMALL, LARGE = 1_000, 1_000_000
PAYLOAD_BYTES = 200
QUEUED = 100_000
OPERATIONS = ("enqueue", "claim", "page")


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """`payload_bytes` and `bytes_beyond_payload` are of one task."""

    tasks: int
    payload_bytes: float
    bytes_beyond_payload: float


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """One operation's mean on each store, in microseconds, taken turn by turn."""

    ratio: float
    small_us: float
    large_us: float
    small_tasks: int
    large_tasks: int


class Setting(msgspec.Struct, frozen=True):
    """A Redis to measure on."""

    name: str
    words: tuple[str, ...]


def shipped_words(configuration: str) -> tuple[str, ...]:
    """The lines of infra/redis.py's redis.conf that bear on how values are kept, as command line words."""
    found: list[str] = []
    for line in configuration.splitlines():
        name, _, value = line.partition(" ")
        if "-listpack-" in name or "-max-" in name or "-ziplist-" in name:
            found += [f"--{name}", value]
    return tuple(found)


def memory(bench: Bench) -> Rounds:
    """On Redis' defaults, and on the settings that the stack ships."""
    # Here, as it loads the Pulumi SDK, which takes a second.
    from infra.redis import configuration

    settings = [
        Setting("Redis' defaults", ()),
        Setting("settings as shipped", shipped_words(configuration(1 << 30))),
    ]
    return interleaved("memory", settings, bench, _memory, "bytes_beyond_payload")


def _memory(setting: Setting, bench: Bench) -> Memory:
    count = max(1_000, int(QUEUED * bench.scale))
    with RedisServer(bench.children, bench.cores.others, *setting.words) as redis:
        redis.client.ping()
        before = redis.used_bytes()
        filled = _own_store(bench, "fill", redis.url, count, PAYLOAD_BYTES)
        used = (redis.used_bytes() - before) / count
    return Memory(
        tasks=count,
        payload_bytes=filled["payload_bytes"],
        bytes_beyond_payload=used - filled["payload_bytes"],
    )


def growth(bench: Bench) -> Rounds:
    """Two stores at once; each operation on one, then on the other, so that noise meets both."""
    large = max(SMALL, int(LARGE * bench.scale))
    found: Rounds = {name: [] for name in OPERATIONS}
    with (
        RedisServer(bench.children, bench.cores.others) as few,
        RedisServer(bench.children, bench.cores.others) as many,
    ):
        say(f"  growth: storing {large:,} tasks")
        _own_store(bench, "fill", few.url, SMALL, PAYLOAD_BYTES)
        _own_store(bench, "fill", many.url, large, PAYLOAD_BYTES)
        for number in range(1, bench.rounds + 1):
            timed = _own_store(bench, "compare", few.url, many.url)
            for name in OPERATIONS:
                small_us, large_us = timed[name]
                row = Growth(
                    ratio=large_us / small_us, small_us=small_us, large_us=large_us, small_tasks=SMALL,
                    large_tasks=large,
                )  # fmt: skip
                found[name].append(msgspec.to_builtins(row))
                say(f"  growth, round {number} of {bench.rounds}: {name}: {row.ratio:.2f} ratio")
    return found


def _own_store(bench: Bench, *words: object) -> Any:
    script = str(PEERS_FOLDER / "own_store.py")
    done = subprocess.run(  # noqa: S603 - argument lists only, never a shell
        pinned(bench.cores.measured, [sys.executable, script, *map(str, words)]),
        env={"PYTHONPATH": f"{ROOT / 'services'}"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchError(f"own_store {words[0]} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)
