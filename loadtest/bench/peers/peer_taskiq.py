"""taskiq on Redis Streams: `taskiq worker peer_taskiq:broker --workers 1`.

https://taskiq-python.github.io/guide/cli.html: `--max-async-tasks`, `--max-prefetch`, `--no-parse` (without
pydantic), uvloop where it is installed; orjson as serializer. An entry is acknowledged when its result is
saved; a killed worker's is claimed after `idle_timeout` (10 min):
https://github.com/taskiq-python/taskiq-redis
"""

import asyncio
from typing import Any

import notes
import settings
import uvloop
from client import answer_orders
from redis.asyncio import Redis
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

broker = RedisStreamBroker(
    settings.REDIS_URL,
    consumer_id="0",
    idle_timeout=settings.SHORT_S * 1000 if settings.SHORT else 600_000,
    unacknowledged_lock_timeout=5,
).with_serializer(ORJSONSerializer())
if settings.RESULTS:
    broker = broker.with_result_backend(
        RedisAsyncResultBackend(settings.REDIS_URL, result_ex_time=3600, serializer=ORJSONSerializer())
    )


@broker.task(task_name="nothing")
async def nothing(number: int) -> int:
    return notes.count()


@broker.task(task_name="timed")
async def timed(sent_s: float) -> int:
    return notes.time_from(sent_s)


@broker.task(task_name="nap")
async def nap(name: str, nap_s: float) -> str:
    notes.begin(name)
    await asyncio.sleep(nap_s)
    return name


_TASKS = {"nothing": nothing, "timed": timed, "nap": nap}


class Taskiq:
    def __init__(self) -> None:
        self._redis = Redis.from_url(settings.REDIS_URL)

    async def one(self, task: str, *args: Any) -> None:
        await _TASKS[task].kiq(*args)

    async def many(self, task: str, rows: list[tuple[Any, ...]]) -> None:
        kicker = _TASKS[task]
        for start in range(0, len(rows), 100):
            await asyncio.gather(*(kicker.kiq(*row) for row in rows[start : start + 100]))

    async def pending(self) -> int:
        (group,) = await self._redis.xinfo_groups("taskiq")
        return group["pending"] + (group["lag"] or 0)


async def _main() -> None:
    await broker.startup()
    await answer_orders(Taskiq())


def main() -> None:
    """The client."""
    uvloop.run(_main())
