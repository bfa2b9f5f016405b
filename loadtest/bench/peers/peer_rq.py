"""rq: `rq worker --worker-class rq.SimpleWorker`.

https://python-rq.org/docs/workers/: SimpleWorker runs jobs in the worker's own process, where the default
one forks for each. A killed worker's job goes to the failed registry, or is retried where it has `Retry`,
when its entry in the started registry lapses and some worker does maintenance (every 10 min).
"""

import asyncio
import time
from typing import Any

import notes
import settings
from client import answer_orders
from redis import Redis
from rq import Queue, Retry


def nothing(number: int) -> int:
    return notes.count()


def timed(sent_s: float) -> int:
    return notes.time_from(sent_s)


def nap(name: str, nap_s: float) -> str:
    notes.begin(name)
    time.sleep(nap_s)
    return name


_LIMIT_S = settings.SHORT_S if settings.SHORT else settings.NAP_LIMIT_S


class Rq:
    def __init__(self) -> None:
        self._redis = Redis.from_url(settings.REDIS_URL)
        self._queue = Queue(connection=self._redis)

    def one(self, task: str, *args: Any) -> None:
        self._queue.enqueue(f"peer_rq.{task}", *args, retry=Retry(max=3), job_timeout=_LIMIT_S)

    def many(self, task: str, rows: list[tuple[Any, ...]]) -> None:
        prepare = Queue.prepare_data
        limits = {"retry": Retry(max=3), "timeout": _LIMIT_S}
        self._queue.enqueue_many([prepare(f"peer_rq.{task}", row, **limits) for row in rows])

    def pending(self) -> int:
        return len(self._queue) + self._queue.started_job_registry.count


def main() -> None:
    """The client."""
    asyncio.run(answer_orders(Rq()))
