"""docket: `docket worker --tasks peer_docket:tasks`.

https://chrisguidry.github.io/docket/production/: `--concurrency` up from 10; state and results kept, as by
default, for 15 min. A killed worker's task comes back after `--redelivery-timeout` (5 min) and up to 31 %
more.
"""

import asyncio
from datetime import timedelta
from typing import Any

import notes
import settings
from client import answer_orders
from docket import Docket


async def nothing(number: int) -> int:
    return notes.count()


async def timed(sent_s: float) -> int:
    return notes.time_from(sent_s)


async def nap(name: str, nap_s: float) -> str:
    notes.begin(name)
    await asyncio.sleep(nap_s)
    return name


tasks = [nothing, timed, nap]
_TASKS = {function.__name__: function for function in tasks}


class DocketClient:
    def __init__(self, docket: Docket) -> None:
        self._docket = docket

    async def one(self, task: str, *args: Any) -> None:
        await self._docket.add(_TASKS[task])(*args)

    async def many(self, task: str, rows: list[tuple[Any, ...]]) -> None:
        for start in range(0, len(rows), 50):
            await asyncio.gather(*(self.one(task, *row) for row in rows[start : start + 50]))

    async def pending(self) -> int:
        async with self._docket.redis() as redis:
            return await redis.xlen(self._docket.stream_key)


async def _main() -> None:
    ttl = timedelta(minutes=15)
    async with Docket(name="docket", url=settings.REDIS_URL, execution_ttl=ttl) as docket:
        for function in tasks:
            docket.register(function)
        await answer_orders(DocketClient(docket))


def main() -> None:
    """The client."""
    asyncio.run(_main())
