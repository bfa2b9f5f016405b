"""A bare aiohttp handler with one Redis transaction a request: HSET of the task, LPUSH of its id.

redis-py with hiredis, one pool, uvloop, no access log: what a service without a queue library does.
"""

import json
import os
import uuid
from typing import Any

import uvloop
from aiohttp import web
from redis.asyncio import Redis

_redis: Any = Redis.from_url(os.environ["REDIS_URL"])  # pyright: ignore[reportUnknownMemberType]


async def create(request: web.Request) -> web.Response:
    task = json.loads(await request.read())
    task_id = str(uuid.uuid4())
    async with _redis.pipeline(transaction=True) as pipe:
        pipe.hset(f"task:{task_id}", mapping={"type": task["type"], "data": json.dumps(task["data"])})
        pipe.lpush("tasks", task_id)
        await pipe.execute()
    answer = {"task_id": task_id, "status": "queued", "message": "Task created successfully"}
    return web.json_response(answer, status=201)


def main() -> None:
    """Serves until it is ended."""
    app = web.Application()
    app.router.add_post("/tasks", create)
    web.run_app(
        app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=None,
        loop=uvloop.new_event_loop(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
