"""This queue's client on a store of a given size: `fill URL COUNT BYTES`, `compare URL URL`; prints JSON."""

import json
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import msgspec
import uvloop
from taskqueue.connection import Connection
from taskqueue.ids import new_id
from taskqueue.model import NewTask, Outcome
from taskqueue.queue import Queue
from taskqueue.settings import RedisSettings
from taskqueue.states import Status

LEASE_US = 600_000_000
CALLS = 300
SLICE = 1_000


def _queue(url: str) -> Queue:
    return Queue(Connection(RedisSettings(redis_url=url), timeout_s=30))


def _payload(number: int, size_bytes: int) -> bytes:
    head = {"subject": f"Order {number}", "recipient": f"user{number}@load.example.com", "content": ""}
    padding = size_bytes - len(msgspec.json.encode(head))
    return msgspec.json.encode({**head, "content": "x" * max(1, padding)})


async def _fill(url: str, tasks: int, size_bytes: int) -> dict[str, float]:
    queue = _queue(url)
    total = 0
    for start in range(0, tasks, SLICE):
        payloads = [_payload(number, size_bytes) for number in range(start, min(tasks, start + SLICE))]
        total += sum(map(len, payloads))
        await queue.enqueue([NewTask(new_id(), "email", payload) for payload in payloads])
    return {"payload_bytes": total / tasks}


class Store:
    """The operations that are timed, on one store."""

    def __init__(self, url: str) -> None:
        self._queue = _queue(url)
        self._sequence = count(1)
        self._outcomes: list[Outcome] = []

    async def enqueue(self) -> None:
        await self._queue.enqueue([NewTask(new_id(), "email", _payload(0, 200))])

    async def claim(self) -> None:
        """Reports the task before and takes the next, as a worker does."""
        reply = await self._queue.settle_and_claim(
            "bench", next(self._sequence), self._outcomes, 1, lease_us=LEASE_US, wait_us=0
        )
        self._outcomes = [Outcome(c.id, c.epoch, Status.COMPLETED, b"null") for c in reply.claims]

    async def page(self) -> None:
        await self._queue.page(100)


async def _timed(call: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


async def _compare(*urls: str) -> dict[str, list[float]]:
    """Mean microseconds of each operation on each store, of the fastest 90 % of calls."""
    stores = [Store(url) for url in urls]
    found: dict[str, list[float]] = {}
    for name in ("enqueue", "claim", "page"):
        times: list[list[float]] = [[] for _ in stores]
        for _ in range(CALLS):
            for taken, store in zip(times, stores, strict=True):
                taken.append(await _timed(getattr(store, name)))
        found[name] = [_middle_us(taken) for taken in times]
    return found


def _middle_us(taken_s: list[float]) -> float:
    kept = sorted(taken_s)[: len(taken_s) * 9 // 10]
    return 1e6 * sum(kept) / len(kept)


async def _main(words: list[str]) -> Any:
    if words[0] == "fill":
        return await _fill(words[1], int(words[2]), int(words[3]))
    return await _compare(*words[1:])


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_main(sys.argv[1:]))))
