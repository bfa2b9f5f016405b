"""The clients: POSTs at a steady rate, bounded in number, sent again as a sensible client would."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp

from loadtest.chaos.record import DOMAIN, Final, Outcome, Post

AT_ONCE = 64
TIMEOUT_S = 6.0
PAUSE_S = (0.1, 0.5)
PAGE = 1000
_CONTENT = "Dear customer,\n\n" + "your order is on its way and will be with you within three days.\n" * 8


class Clients:
    """Posts e-mails to the APIs in turn until each was accepted. `posts`: every POST, as they ended.

    `tag` begins the recipients' local parts, to tell a run's tasks from others in the same queue.
    """

    def __init__(self, http: aiohttp.ClientSession, apis: Sequence[str], tag: str = "") -> None:
        self._http, self._apis, self._tag = http, apis, tag
        self._places = asyncio.Semaphore(AT_ONCE)
        self.posts: list[Post] = []
        self.count: Counter[Outcome] = Counter()

    async def load(self, tasks: int, rate: float) -> None:
        """`tasks` e-mails, `rate` a second; returns when each was accepted."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as sending:
            for number in range(tasks):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                await self._places.acquire()
                sending.create_task(self._deliver(number))

    async def _deliver(self, number: int) -> None:
        try:
            attempt = 0
            while (
                post := await self._post(f"{self._tag}{number}.{attempt}", number + attempt)
            ).outcome is not Outcome.ACCEPTED:
                attempt += 1
                await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311
        finally:
            self._places.release()
        assert post.task_id

    async def _post(self, key: str, turn: int) -> Post:
        """One POST, under a recipient that is used for no other."""
        api = self._apis[turn % len(self._apis)]
        mail = {"subject": f"Order {key}", "recipient": f"{key}@{DOMAIN}", "content": _CONTENT}
        began = time.time()
        status, task_id = 0, ""
        try:
            async with self._http.post(f"{api}/tasks", json={"type": "email", "data": mail}) as answer:
                status = answer.status
                if status == 201:
                    task_id = (await answer.json())["task_id"]
            outcome = Outcome.ACCEPTED if status == 201 else Outcome.REFUSED
        except aiohttp.ClientConnectorError:  # no connection: nothing was sent
            outcome = Outcome.UNSENT
        except (aiohttp.ClientError, TimeoutError):
            outcome = Outcome.UNKNOWN
        post = Post(key=key, began=began, ended=time.time(), outcome=outcome, status=status, task_id=task_id)
        self.posts.append(post)
        self.count[outcome] += 1
        return post

    def accepted_since(self, at: float) -> list[str]:
        """Ids of tasks that a client saw accepted at or after this time."""
        recent: list[str] = []
        for post in reversed(self.posts):
            if post.ended < at:
                break
            if post.task_id:
                recent.append(post.task_id)
        return recent

    async def stats(self) -> dict[str, int] | None:
        """The queue's figures from whichever API answers."""
        for api in self._apis:
            try:
                async with self._http.get(f"{api}/queue/stats") as answer:
                    if answer.status == 200:
                        return await answer.json()
            except (aiohttp.ClientError, TimeoutError):
                continue
        return None

    async def finals(self) -> AsyncIterator[Final]:
        """Every task that the API lists, page by page."""
        cursor = ""
        while cursor is not None:
            query = f"?limit={PAGE}" + (f"&cursor={cursor}" if cursor else "")
            async with self._http.get(f"{self._apis[0]}/tasks{query}") as answer:
                answer.raise_for_status()
                page = await answer.json()
            for task in page["tasks"]:
                yield _final(task)
            cursor = page["next"]


def _final(task: dict[str, Any]) -> Final:
    result: Any = task.get("result") or {}
    return Final(
        task_id=task["id"], key=task["data"]["recipient"].partition("@")[0], status=task["status"],
        error=str(result.get("error", "")),
    )  # fmt: skip
