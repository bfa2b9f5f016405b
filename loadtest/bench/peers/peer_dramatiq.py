"""dramatiq: `dramatiq peer_dramatiq --processes 1 --threads N`.

https://dramatiq.io/guide.html and https://dramatiq.io/reference.html: threads up from 8, and with them the
prefetch, which is twice as many. A killed worker's messages come back after `heartbeat_timeout` (60 s), when
maintenance runs, which one command in 1,000 brings about. Results: https://dramatiq.io/cookbook.html
"""

import asyncio
import time
from typing import Any

import dramatiq
import notes
import settings
from client import answer_orders
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

_SHORT = {"heartbeat_timeout": settings.SHORT_S * 1000, "maintenance_chance": 1_000_000}
broker = RedisBroker(url=settings.REDIS_URL, **(_SHORT if settings.SHORT else {}))
if settings.RESULTS:
    broker.add_middleware(Results(backend=RedisBackend(url=settings.REDIS_URL), store_results=True))
dramatiq.set_broker(broker)
_LIMIT_MS = settings.NAP_LIMIT_S * 1000


@dramatiq.actor
def nothing(number: int) -> int:
    return notes.count()


@dramatiq.actor
def timed(sent_s: float) -> int:
    return notes.time_from(sent_s)


@dramatiq.actor(time_limit=_LIMIT_MS)
def nap(name: str, nap_s: float) -> str:
    notes.begin(name)
    time.sleep(nap_s)
    return name


_TASKS = {"nothing": nothing, "timed": timed, "nap": nap}


class Dramatiq:
    def one(self, task: str, *args: Any) -> None:
        _TASKS[task].send(*args)

    def many(self, task: str, rows: list[tuple[Any, ...]]) -> None:
        for row in rows:
            _TASKS[task].send(*row)

    def pending(self) -> int:
        return broker.client.hlen("dramatiq:default.msgs")


def main() -> None:
    """The client."""
    asyncio.run(answer_orders(Dramatiq()))
