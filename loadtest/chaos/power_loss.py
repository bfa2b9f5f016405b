"""A machine loses its power: Redis is killed, its AOF cut back to the last fsync, and the loss measured."""

import asyncio
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp

from loadtest.chaos.clients import TIMEOUT_S, Clients
from loadtest.chaos.fsync_trace import COMMAND, sizes
from loadtest.chaos.options import Options
from loadtest.chaos.processes import Place, free_ports, listening, python, service_env
from loadtest.chaos.record import Outcome
from loadtest.chaos.redis_place import Redis

LOAD_S = 3.0
"""Before the earliest loss of power; then up to a second more, as fsyncs are a second apart."""
RATE = 300.0
TRACED_S = 5.0
EVERYSEC_LIMIT_S = 2.5
"""Redis documents one second, at the most two when the disk is slow; and what an answer takes."""


class TraceError(Exception):
    """The trace does not agree with the file, so nothing can be said of what was synced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One loss of power: accepted tasks, those gone, and how old the oldest of them was."""

    accepted: int
    lost: int
    oldest_lost_s: float
    cut_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLoss:
    """All rounds with one fsync policy."""

    appendfsync: str
    rounds: tuple[Loss, ...]

    @property
    def lost(self) -> int:
        return sum(loss.lost for loss in self.rounds)

    @property
    def accepted(self) -> int:
        return sum(loss.accepted for loss in self.rounds)

    @property
    def oldest_lost_s(self) -> float:
        return max(loss.oldest_lost_s for loss in self.rounds)

    @property
    def passed(self) -> bool:
        """`always` loses nothing, `everysec` no more than it says; a cut that takes nothing shows nothing."""
        if self.accepted == 0:
            return False
        if self.appendfsync == "always":
            return self.lost == 0
        return self.lost > 0 and self.oldest_lost_s <= EVERYSEC_LIMIT_S


async def power_loss(options: Options, appendfsync: str) -> PowerLoss:
    """Loses the power a few times, at moments that the seed draws."""
    random = Random(f"{options.seed}/{appendfsync}")  # noqa: S311
    rounds: list[Loss] = []
    for number in range(options.power_losses):
        folder = options.out / f"power-loss-{appendfsync}-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        loss = await _lose(options, appendfsync, folder, LOAD_S + random.random())
        print(
            f"  power lost: {loss.lost} of {loss.accepted} accepted tasks gone, "
            f"the oldest {loss.oldest_lost_s:.2f} s old, {loss.cut_bytes} bytes",
            flush=True,
        )
        rounds.append(loss)
    return PowerLoss(appendfsync=appendfsync, rounds=tuple(rounds))


async def _lose(options: Options, appendfsync: str, folder: Path, load_s: float) -> Loss:
    redis_port, api_port = free_ports(2)
    trace = folder / "strace.txt"
    redis = Redis(folder / "redis", redis_port, appendfsync, folder / "redis.log", (*COMMAND, str(trace)))
    env = service_env(options.services, redis_port, PORT=str(api_port), HOST="127.0.0.1")
    api = Place("a0", python("api"), env, folder / "a0.log")
    try:
        await redis.start()
        api.start()
        await listening(api, api_port)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as http:
            clients = Clients(http, [f"http://127.0.0.1:{api_port}"])
            load = asyncio.create_task(clients.load(10**6, RATE))
            await asyncio.sleep(load_s)
            await redis.place.kill()
            at = time.time()
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
            accepted = {p.task_id: p.ended for p in clients.posts if p.outcome is Outcome.ACCEPTED}
            cut = await _cut_back(redis, trace)
            await redis.start_without_prefix()
            kept = {final.task_id async for final in clients.finals()}
    finally:
        api.end()
        redis.place.end()
    gone = [at - ended for task_id, ended in accepted.items() if task_id not in kept]
    return Loss(accepted=len(accepted), lost=len(gone), oldest_lost_s=max(gone, default=0.0), cut_bytes=cut)


async def _cut_back(redis: Redis, trace: Path) -> int:
    """Cuts the AOF to what was synced; the number of bytes cut off."""
    aof = redis.increment()
    size = aof.stat().st_size
    deadline = time.monotonic() + TRACED_S
    written, synced = await asyncio.to_thread(_read, trace, aof.name)
    while written != size:  # the tracer writes its last lines when Redis is gone
        if time.monotonic() > deadline:
            raise TraceError(f"{trace} tells of {written} bytes written, {aof} has {size}")
        await asyncio.sleep(0.05)
        written, synced = await asyncio.to_thread(_read, trace, aof.name)
    with aof.open("r+b") as file:
        file.truncate(synced)
    return size - synced


def _read(trace: Path, name: str) -> tuple[int, int]:
    with trace.open() as lines:
        return sizes(lines, f"/{name}")
