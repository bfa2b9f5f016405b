"""saq: `saq peer_saq.settings --quiet`. https://saq-py.readthedocs.io/ ("Worker", "Job").

A killed worker's job comes back when the sweep finds it older than its `timeout` (the job's own), given
`retries` over 1: both are needed for it to survive, the second is set here.
"""

import asyncio
from typing import Any

import notes
import settings as bench
from client import answer_orders
from saq import Job, Queue

queue = Queue.from_url(bench.REDIS_URL, max_concurrent_ops=100)
_TIMEOUT_S = bench.SHORT_S if bench.SHORT else 60


async def nothing(ctx: dict[str, Any], *, number: int) -> int:
    return notes.count()


async def timed(ctx: dict[str, Any], *, sent_s: float) -> int:
    return notes.time_from(sent_s)


async def nap(ctx: dict[str, Any], *, name: str, nap_s: float) -> str:
    notes.begin(name)
    await asyncio.sleep(nap_s)
    return name


_FIELDS = {"nothing": ("number",), "timed": ("sent_s",), "nap": ("name", "nap_s")}
settings = {
    "queue": queue,
    "functions": [nothing, timed, nap],
    "concurrency": bench.CONCURRENCY,
    **({"timers": {"sweep": 5}} if bench.SHORT else {}),
}


class Saq:
    @staticmethod
    def _job(task: str, args: tuple[Any, ...]) -> Job:
        kwargs = dict(zip(_FIELDS[task], args, strict=True))
        return Job(task, kwargs=kwargs, retries=3, timeout=_TIMEOUT_S)

    async def one(self, task: str, *args: Any) -> None:
        await queue.enqueue(self._job(task, args))

    async def many(self, task: str, rows: list[tuple[Any, ...]]) -> None:
        await asyncio.gather(*(queue.enqueue(self._job(task, row)) for row in rows))

    async def pending(self) -> int:
        return await queue.count("incomplete")


async def _main() -> None:
    await queue.connect()
    await answer_orders(Saq())


def main() -> None:
    """The client."""
    asyncio.run(_main())
