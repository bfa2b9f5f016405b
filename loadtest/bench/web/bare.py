"""A bare aiohttp handler: it reads the body and answers a constant. uvloop, no access log."""

import os

import uvloop
from aiohttp import web

_ANSWER = b'{"task_id":"01890a5d-ac96-774b-bcce-b302099a8057","status":"queued","message":"ok"}'


async def create(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=_ANSWER, status=201, content_type="application/json")


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
