"""The whole system on a real cluster while parts of it go away: nothing that was accepted is lost."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from infra.target import Target
from tests.e2e.stacks import DEPLOY_S, Stack, deployed

RATE_PER_S = 25
LOAD_S = 30
ANSWER_LIMIT_S = 6.0
"""The API's own patience with Redis is 2 s; the rest is a busy machine."""
pytestmark = pytest.mark.timeout(DEPLOY_S + 300)


@pytest.fixture(scope="module")
def stack(cluster: Target) -> Iterator[Stack]:
    with deployed(cluster, "faults", "api.replicas=2", "worker.autoscaling.maxReplicas=3") as stack:
        yield stack


@dataclass
class Load:
    """What a client saw: each accepted id, each other answer, the slowest one, resets."""

    accepted: list[str] = field(default_factory=list[str])
    refused: Counter[int] = field(default_factory=Counter[int])
    failed: list[str] = field(default_factory=list[str])
    slowest_s: float = 0.0

    async def send(self, http: aiohttp.ClientSession, api: str, number: int) -> None:
        mail = {"subject": f"No. {number}", "recipient": "ada@example.com", "content": "text\n" * 20}
        began = time.monotonic()
        try:
            async with http.post(f"{api}/tasks", json={"type": "email", "data": mail}) as answer:
                if answer.status == 201:
                    self.accepted.append((await answer.json())["task_id"])
                else:
                    self.refused[answer.status] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failed.append(repr(error))
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)


@asynccontextmanager
async def under_load(stack: Stack) -> AsyncGenerator[Load]:
    """Open-loop e-mails at a steady rate for as long as the body runs, LOAD_S at the least."""
    load, api = Load(), stack.url("api-service")
    stop = asyncio.Event()

    async def run(http: aiohttp.ClientSession) -> None:
        began, number = time.monotonic(), 0
        async with asyncio.TaskGroup() as sending:
            while not stop.is_set() or time.monotonic() - began < LOAD_S:
                sending.create_task(load.send(http, api, number))
                number += 1
                await asyncio.sleep(max(0.0, began + number / RATE_PER_S - time.monotonic()))

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as http:
        running = asyncio.create_task(run(http))
        try:
            yield load
        finally:
            stop.set()
            await running


async def deliveries(stack: Stack, wanted: set[str], limit_s: float = 90) -> Counter[str]:
    """How often each task was delivered, once all that are wanted have been."""
    mail, seen, after = stack.url("mail-service"), Counter[str](), 0
    deadline = time.monotonic() + limit_s
    async with aiohttp.ClientSession() as http:
        while not wanted <= seen.keys():
            assert time.monotonic() < deadline, f"lost: {sorted(wanted - seen.keys())[:5]} ..."
            async with http.get(f"{mail}/deliveries?after={after}&limit=1000") as answer:
                page = await answer.json()
            after = page["next"]
            seen.update(delivery["task_id"] for delivery in page["deliveries"])
            if not page["deliveries"]:
                await asyncio.sleep(0.2)
    return seen


def doubled(seen: Counter[str], ids: list[str]) -> list[str]:
    return [task_id for task_id in ids if seen[task_id] > 1]


async def in_thread(stack: Stack, *words: str) -> str:
    return await asyncio.to_thread(stack.kubectl, *words)


async def test_a_redis_pod_deleted_under_load_loses_nothing_and_the_api_says_503(stack: Stack) -> None:
    async with under_load(stack) as load:
        await asyncio.sleep(5)  # load before the fault
        await in_thread(stack, "delete", "pod", "redis-0", "--wait=true")
        await in_thread(stack, "rollout", "status", "statefulset/redis", "--timeout=120s")
        recovered_from = len(load.accepted)
    assert set(load.refused) <= {503}
    assert load.slowest_s < ANSWER_LIMIT_S, "it must answer, not hang"
    assert len(load.accepted) > recovered_from, "it takes tasks again"
    await deliveries(stack, set(load.accepted))


async def test_a_rolling_update_under_load_loses_nothing_doubles_nothing_and_fails_no_request(
    stack: Stack,
) -> None:
    async with under_load(stack) as load:
        await asyncio.sleep(2)  # load before the update
        for workload in ("deployment/task-api", "deployment/task-worker"):
            await in_thread(stack, "rollout", "restart", workload)
        for workload in ("deployment/task-api", "deployment/task-worker"):
            await in_thread(stack, "rollout", "status", workload, "--timeout=150s")
    assert (dict(load.refused), load.failed) == ({}, [])
    assert doubled(await deliveries(stack, set(load.accepted)), load.accepted) == []


async def test_a_worker_pod_killed_under_load_loses_nothing(stack: Stack) -> None:
    async with under_load(stack) as load:
        await asyncio.sleep(5)  # load before the fault
        names = await in_thread(stack, "get", "pod", "-l", "app=task-worker", "-o", "name")
        await in_thread(stack, "delete", names.split()[0], "--grace-period=0", "--force")
    assert (dict(load.refused), load.failed) == ({}, [])
    await deliveries(stack, set(load.accepted))
