"""huey: `python -m gevent.monkey huey_consumer peer_huey.huey -k greenlet -w N -n`.

https://huey.readthedocs.io/en/latest/consumer.html: greenlets are light, so that one can run many, given
gevent's patches; `-n` leaves the scheduler of periodic tasks out. A task is popped from its list before it
runs, so one that was running when its consumer was killed is lost.
"""

import asyncio
import time
from typing import Any

import notes
import settings
from client import answer_orders
from huey import RedisHuey

huey = RedisHuey("bench", url=settings.REDIS_URL, results=settings.RESULTS)


@huey.task()
def nothing(number: int) -> int:
    return notes.count()


@huey.task()
def timed(sent_s: float) -> int:
    return notes.time_from(sent_s)


@huey.task()
def nap(name: str, nap_s: float) -> str:
    notes.begin(name)
    time.sleep(nap_s)
    return name


_TASKS = {"nothing": nothing, "timed": timed, "nap": nap}


class Huey:
    def one(self, task: str, *args: Any) -> None:
        _TASKS[task](*args)

    def many(self, task: str, rows: list[tuple[Any, ...]]) -> None:
        for row in rows:
            _TASKS[task](*row)

    def pending(self) -> int:
        return len(huey)


def main() -> None:
    """The client."""
    asyncio.run(answer_orders(Huey()))
