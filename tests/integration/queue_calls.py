"""How tests call the queue: as workers with a name and a sequence number, on a clock of their own."""

from typing import Any

from taskqueue.ids import new_id
from taskqueue.model import (
    MICROSECOND,
    Claim,
    ClaimReply,
    Extra,
    NewTask,
    Next,
    Outcome,
    ReapReply,
    Receipt,
    Retention,
)
from taskqueue.queue import POISON_KILLS, Queue
from taskqueue.states import Status

from tests.integration.conftest import Clock

LEASE_US = 10 * MICROSECOND
WAIT_US = 6 * MICROSECOND
RETENTION = Retention.uniform(86_400 * MICROSECOND)


class Worker:
    """Calls the queue as a worker does: a name and a sequence number."""

    def __init__(self, queue: Queue, name: str) -> None:
        self.queue = queue
        self.name = name
        self.sequence = 0

    async def call(self, want: int, *outcomes: Outcome, repeat: bool = False, beside: int = 0) -> ClaimReply:
        self.sequence += 0 if repeat else 1
        return await self.queue.settle_and_claim(
            self.name, self.sequence, outcomes, want, lease_us=LEASE_US, wait_us=WAIT_US, held_beside=beside
        )

    async def claim(self, want: int = 1) -> list[Claim]:
        return (await self.call(want)).claims

    async def next(self, *, beside: int = 0) -> Next:
        """What it is told when it asks for one task."""
        return (await self.call(1, beside=beside)).next

    async def reap_reply(self, retention: Retention = RETENTION, kills: int = POISON_KILLS) -> ReapReply:
        return await self.queue.reap(self.name, lease_us=LEASE_US, retention=retention, poison_kills=kills)

    async def reap(self, retention: Retention = RETENTION, kills: int = POISON_KILLS) -> list[str]:
        """The ids taken back."""
        return (await self.reap_reply(retention, kills)).lapsed

    async def asked(self) -> list[str]:
        """The ids that it is told to stop."""
        return (await self.reap_reply()).asked


def completed(claim: Claim) -> Outcome:
    return Outcome(claim.id, claim.epoch, Status.COMPLETED, b'{"ok":true}')


def failed(claim: Claim) -> Outcome:
    return Outcome(claim.id, claim.epoch, Status.FAILED, b'{"error":"x"}')


def retried(claim: Claim, in_s: float, *, counts: bool = True) -> Outcome:
    wait_us = int(in_s * MICROSECOND)
    return Outcome(claim.id, claim.epoch, Status.SCHEDULED, b'{"error":"x"}', wait_us, counts)


def tasks(count: int, kind: str = "email", **extra: Any) -> list[NewTask]:
    brings = Extra(**extra) if extra else None
    return [NewTask(new_id(), kind, b'{"n":%d}' % n, brings) for n in range(count)]


async def stored(queue: Queue, count: int, kind: str = "email", **extra: Any) -> list[NewTask]:
    made = tasks(count, kind, **extra)
    assert await queue.enqueue(made) == [Receipt(task.id, stored=True) for task in made]
    return made


async def status_of(queue: Queue, task: NewTask | Claim) -> Status:
    return (await queue.get(task.id)).status


async def let_lapse(worker: Worker, clock: Clock, seconds: float = 10.5) -> list[str]:
    """Passes time in reap's own ticks, as running workers do; returns all that was taken back."""
    taken: list[str] = []
    for _ in range(int(seconds / 0.5)):
        clock.pass_s(0.5)
        taken += await worker.reap()
    return taken
