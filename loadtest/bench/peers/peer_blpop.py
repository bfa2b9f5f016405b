"""The plain loop: LPUSH, BRPOP, call, forget. What it takes is lost with the worker that took it."""

import asyncio
import json
from typing import Any

import notes
import redis
import redis.asyncio
import settings
import uvloop
from client import answer_orders

KEY = "blpop:tasks"


class Plain:
    """redis-py, synchronous."""

    def __init__(self) -> None:
        self._redis: Any = redis.Redis.from_url(settings.REDIS_URL)

    def one(self, task: str, *args: Any) -> None:
        self._redis.rpush(KEY, json.dumps([task, args]))

    def many(self, task: str, rows: list[tuple[Any, ...]]) -> None:
        self._redis.rpush(KEY, *(json.dumps([task, row]) for row in rows))

    def pending(self) -> int:
        return self._redis.llen(KEY)


async def _nap(name: str, nap_s: float) -> None:
    notes.begin(name)
    await asyncio.sleep(nap_s)


async def _work() -> None:
    """Takes one task at a time, as such loops do."""
    client: Any = redis.asyncio.Redis.from_url(settings.REDIS_URL)
    while True:
        taken = await client.blpop([KEY], 5)
        if taken is None:
            continue
        task, args = json.loads(taken[1])
        match task:
            case "nothing":
                notes.count()
            case "timed":
                notes.time_from(*args)
            case _:
                await _nap(*args)


def main() -> None:
    """The client."""
    asyncio.run(answer_orders(Plain()))


if __name__ == "__main__":
    uvloop.run(_work())
