"""Each change of status in the table is made by some call, one after the other on one task."""

from itertools import pairwise

from taskqueue.queue import Queue
from taskqueue.states import TRANSITIONS, Status

from tests.fixtures.processes import RedisServer
from tests.integration.conftest import Clock
from tests.integration.queue_calls import Worker, completed, failed, let_lapse, retried, stored

Q, P, S = Status.QUEUED, Status.PROCESSING, Status.SCHEDULED
F, X, C = Status.FAILED, Status.CANCELLED, Status.COMPLETED


class Walk:
    """One task, its worker, and the statuses that were seen of it."""

    def __init__(self, queue: Queue, clock: Clock, task_id: str) -> None:
        self.queue = queue
        self.clock = clock
        self.id = task_id
        self.worker = Worker(queue, "a")
        self.seen = [Status.QUEUED]

    async def to(self, status: Status) -> None:
        self.seen.append((await self.queue.get(self.id)).status)
        assert self.seen[-1] is status

    async def claim(self) -> None:
        (self.held,) = await self.worker.claim()
        await self.to(P)

    async def release(self) -> None:
        await self.queue.release("a", [(self.held.id, self.held.epoch, False)], leave=False)
        await self.to(Q)

    async def lapse(self) -> None:
        await self.worker.reap()
        await let_lapse(self.worker, self.clock)
        await self.to(Q)

    async def retry(self) -> None:
        await self.worker.call(0, retried(self.held, 1))
        await self.to(S)

    async def come_due(self) -> None:
        self.clock.pass_s(6)
        await self.worker.reap()
        await self.to(Q)

    async def cancel(self) -> None:
        assert await self.queue.cancel([self.id]) == ["cancelled"]
        await self.to(X)

    async def redrive(self) -> None:
        assert await self.queue.redrive([self.id]) == ["queued"]
        await self.to(Q)


async def test_the_scripts_make_every_transition_of_the_table_and_no_other(
    queue: Queue, clock: Clock, redis: RedisServer
) -> None:
    (made,) = await stored(queue, 1)
    walk = Walk(queue, clock, made.id)
    for step in (walk.claim, walk.release, walk.claim, walk.lapse, walk.cancel, walk.redrive):
        await step()
    for step in (walk.claim, walk.retry, walk.come_due, walk.claim, walk.retry, walk.cancel, walk.redrive):
        await step()
    redis.cli("hset", f"{queue.prefix}task:{made.id}", "v", "99")
    assert await walk.worker.claim() == []
    await walk.to(S)
    redis.cli("hset", f"{queue.prefix}task:{made.id}", "v", "2")
    await walk.come_due()
    await walk.claim()
    await queue.cancel([made.id])
    await walk.worker.call(0, retried(walk.held, 1))
    await walk.to(X)
    for step in (walk.redrive, walk.claim):
        await step()
    await walk.worker.call(0, failed(walk.held))
    await walk.to(F)
    for step in (walk.redrive, walk.claim):
        await step()
    await walk.worker.call(0, completed(walk.held))
    await walk.to(C)
    assert await queue.cancel([made.id]) == ["completed"]
    assert await queue.redrive([made.id]) == ["completed"]
    assert {*pairwise(walk.seen)} == {(a, b) for a, after in TRANSITIONS.items() for b in after}
