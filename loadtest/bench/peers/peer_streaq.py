"""streaq: `streaq run peer_streaq:worker`.

https://streaq.readthedocs.io/en/latest/worker.html; concurrency 32 as in its own benchmark,
https://github.com/tastyware/streaq/tree/master/benchmarks, and silent tasks, as each would log two lines.
A killed worker's task comes back after `idle_timeout` (60 s).
"""

import asyncio
from typing import Any

import notes
import settings
from client import answer_orders
from streaq import Worker

worker = Worker(
    redis_url=settings.REDIS_URL,
    concurrency=settings.CONCURRENCY,
    idle_timeout=settings.SHORT_S if settings.SHORT else 60,
)


@worker.task(silent=True)
async def nothing(number: int) -> int:
    return notes.count()


@worker.task(silent=True)
async def timed(sent_s: float) -> int:
    return notes.time_from(sent_s)


@worker.task(silent=True)
async def nap(name: str, nap_s: float) -> str:
    notes.begin(name)
    await asyncio.sleep(nap_s)
    return name


_TASKS = {"nothing": nothing, "timed": timed, "nap": nap}


class Streaq:
    async def one(self, task: str, *args: Any) -> None:
        await _TASKS[task].enqueue(*args)

    async def many(self, task: str, rows: list[tuple[Any, ...]]) -> None:
        await worker.enqueue_many([_TASKS[task].enqueue(*row) for row in rows])

    async def pending(self) -> int:
        return await worker.queue_size()


async def _main() -> None:
    async with worker:
        await answer_orders(Streaq())


def main() -> None:
    """The client."""
    asyncio.run(_main())
