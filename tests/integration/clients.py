"""Clients of the API and of the queue as tests need them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
from taskqueue.ids import new_id
from taskqueue.model import Extra, NewTask, StoredTask
from taskqueue.queue import Queue

EMAIL = {"subject": "Hello", "recipient": "ada@example.com", "content": "A line.\nAnother."}


async def post(http: aiohttp.ClientSession, api: str, kind: str = "email", **data: Any) -> str:
    """The id of a task that the API accepted."""
    async with http.post(f"{api}/tasks", json={"type": kind, "data": data or EMAIL}) as answer:
        assert answer.status == 201, await answer.text()
        return (await answer.json())["task_id"]


async def send(
    http: aiohttp.ClientSession, url: str, *, method: str = "POST", **request: Any
) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of one call; an empty body is an empty object."""
    async with http.request(method, url, **request) as answer:
        text = await answer.text()
        return answer.status, (await answer.json() if text else {})


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 20) -> None:
    """Returns once the condition holds; TimeoutError naming `what` otherwise."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s: {what}")
        await asyncio.sleep(0.02)


async def until_gone(http: aiohttp.ClientSession, api: str, task_id: str) -> None:
    """Returns once the API knows the task no more."""

    async def gone() -> bool:
        return (await send(http, f"{api}/tasks/{task_id}", method="GET"))[0] == 404

    await eventually(gone, f"{task_id} is gone")


async def show(http: aiohttp.ClientSession, api: str, task_id: str) -> dict[str, Any]:
    async with http.get(f"{api}/tasks/{task_id}") as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def until(
    http: aiohttp.ClientSession, api: str, task_id: str, status: str, timeout_s: float = 20
) -> dict[str, Any]:
    """The task once it has this status."""
    deadline = time.monotonic() + timeout_s
    while (task := await show(http, api, task_id))["status"] != status:
        assert time.monotonic() < deadline, f"still {task} after {timeout_s} s"
        await asyncio.sleep(0.02)
    return task


async def put(queue: Queue, kind: str, extra: Extra | None = None, **data: Any) -> str:
    """The id of a task that went to the queue past the API."""
    task = NewTask(new_id(queue.name), kind, msgspec.json.encode(data), extra)
    await queue.enqueue([task])
    return task.id


async def reached(queue: Queue, task_id: str, *statuses: str, timeout_s: float = 20) -> StoredTask:
    """The task as stored, once it has one of these statuses."""
    deadline = time.monotonic() + timeout_s
    while (task := await queue.get(task_id)).status not in statuses:
        assert time.monotonic() < deadline, f"still {task} after {timeout_s} s"
        await asyncio.sleep(0.02)
    return task


async def holds(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 20) -> float:
    """Seconds until an answer of Redis was as awaited."""
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < timeout_s, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.02)
    return time.monotonic() - began
