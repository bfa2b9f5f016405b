"""celery, acks_late: `celery -A peer_celery worker --pool threads --concurrency N`.

https://docs.celeryq.dev/en/stable/userguide/optimizing.html: the prefetch multiplier up for short tasks;
transient queues would be quicker, and are not crash-safe. With `task_acks_late` a killed worker's task comes
back after `visibility_timeout` (1 h):
https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
"""

import asyncio
import time
from typing import Any

import notes
import settings
from celery import Celery
from client import answer_orders

app = Celery("peer_celery", broker=settings.REDIS_URL, backend=settings.REDIS_URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1 if settings.CONCURRENCY < 8 else 16,
    task_ignore_result=not settings.RESULTS,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": settings.SHORT_S} if settings.SHORT else {},
)


@app.task(name="nothing")
def nothing(number: int) -> int:
    return notes.count()


@app.task(name="timed")
def timed(sent_s: float) -> int:
    return notes.time_from(sent_s)


@app.task(name="nap")
def nap(name: str, nap_s: float) -> str:
    notes.begin(name)
    time.sleep(nap_s)
    return name


_TASKS = {"nothing": nothing, "timed": timed, "nap": nap}


class CeleryClient:
    def __init__(self) -> None:
        import redis

        self._redis = redis.Redis.from_url(settings.REDIS_URL)

    def one(self, task: str, *args: Any) -> None:
        _TASKS[task].apply_async(args)

    def many(self, task: str, rows: list[tuple[Any, ...]]) -> None:
        with app.producer_pool.acquire(block=True) as producer:
            for row in rows:
                _TASKS[task].apply_async(row, producer=producer)

    def pending(self) -> int:
        return self._redis.llen("celery") + self._redis.hlen("unacked")


def main() -> None:
    """The client."""
    asyncio.run(answer_orders(CeleryClient()))
