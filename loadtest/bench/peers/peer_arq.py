"""arq: `arq peer_arq.WorkerSettings`.

https://arq-docs.helpmanual.io/ (`arq.worker.Worker`, "Custom job serializers"): `max_jobs` up from 10, the
queue polled every 10 ms rather than 500, JSON in place of pickle. A killed worker's job comes back when its
in-progress key ends, `job_timeout` + 10 s later.
"""

import asyncio
import json
from typing import Any

import notes
import settings
from arq.connections import RedisSettings, create_pool
from arq.constants import default_queue_name
from client import answer_orders

_REDIS = RedisSettings.from_dsn(settings.REDIS_URL)


def _dumps(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


async def nothing(ctx: dict[str, Any], number: int) -> int:
    return notes.count()


async def timed(ctx: dict[str, Any], sent_s: float) -> int:
    return notes.time_from(sent_s)


async def nap(ctx: dict[str, Any], name: str, nap_s: float) -> str:
    notes.begin(name)
    await asyncio.sleep(nap_s)
    return name


class WorkerSettings:
    """Read by the `arq` command."""

    functions = (nothing, timed, nap)
    redis_settings = _REDIS
    max_jobs = settings.CONCURRENCY
    poll_delay = 0.01
    job_timeout = settings.SHORT_S if settings.SHORT else settings.NAP_LIMIT_S
    keep_result = 3600
    job_serializer = _dumps
    job_deserializer = json.loads


class Arq:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def one(self, task: str, *args: Any) -> None:
        await self._pool.enqueue_job(task, *args)

    async def many(self, task: str, rows: list[tuple[Any, ...]]) -> None:
        await asyncio.gather(*(self._pool.enqueue_job(task, *row) for row in rows))

    async def pending(self) -> int:
        return await self._pool.zcard(default_queue_name)


async def _main() -> None:
    await answer_orders(Arq(await create_pool(_REDIS, job_serializer=_dumps, job_deserializer=json.loads)))


def main() -> None:
    """The client."""
    asyncio.run(_main())
