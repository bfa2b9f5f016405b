"""One queue as a worker sees it: what it holds there, what it has to report, and when to ask."""

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog
from taskqueue.core import SLICE
from taskqueue.errors import QueueUnavailableError
from taskqueue.model import MICROSECOND, ClaimReply, Outcome
from taskqueue.queue import Queue
from taskqueue.states import Status

from worker.attempt import ended
from worker.context import Lease, Stop
from worker.settings import WorkerSettings
from worker.slots import Slots

WAKE_S = 5.0
"""How long one blocking wait lasts; with the reap tick an idle worker makes 1.4 calls a second."""
REAP_TICK_S = 1.0
REAP_FLOOR_S = 0.02
REAP_AGAIN_S = 0.001
"""Between reaps when one had to stop at its limit: retention has to keep up with the fastest worker."""
RETRY_PAUSE_S = 0.2
_log = structlog.get_logger("worker")


class Source:
    """`queue` and `waking` are the same queue; `waking` has a connection of its own, as it blocks.

    `changed` is set whenever there may be a call to make.
    """

    def __init__(
        self,
        queue: Queue,
        waking: Queue,
        name: str,
        slots: Slots,
        settings: WorkerSettings,
        about: Callable[[], bytes],
        changed: asyncio.Event,
    ) -> None:
        self.queue = queue
        self.held: dict[str, Lease] = {}  # claimed and not yet settled
        self.outcomes: list[Outcome] = []
        self.idle = asyncio.Event()  # the queue was found empty: wait for a token
        self.token = False
        self.contact = float("-inf")
        self.drain_until = float("-inf")  # a suspect waits here to be run alone: claim nothing beside it
        self._waking = waking
        self._name = name
        self._slots = slots
        self._settings = settings
        self._lease_us = int(settings.lease_s * MICROSECOND)
        self._about = about
        self._changed = changed
        self._sequence = 0

    def report(self, lease: Lease, outcome: Outcome | None) -> None:
        """What became of an attempt; None: nothing may be told of it."""
        if outcome is not None:
            self.outcomes.append(outcome)
        elif self.held.get(lease.claim.id) is lease:
            del self.held[lease.claim.id]
        self._changed.set()

    async def call(
        self, want: int, held_beside: int, give_up_at: Callable[[], float | None]
    ) -> tuple[ClaimReply, float]:
        """One round trip, repeated under one sequence number until it is answered.

        Returns the reply and when (monotonic) the call that it answers was sent. Raises
        QueueUnavailableError after `give_up_at`; what was to be reported may be reported again then.
        """
        outcomes, self.outcomes = self.outcomes[:SLICE], self.outcomes[SLICE:]
        self.token = False
        self._sequence += 1
        try:
            reply, sent = await self._answered(outcomes, want, held_beside, give_up_at)
        except BaseException:
            self.outcomes = [*outcomes, *self.outcomes]
            raise
        self.contact = time.monotonic()
        for outcome in outcomes:
            lease = self.held.get(outcome.id)
            if lease is not None and lease.claim.epoch == outcome.epoch:
                del self.held[outcome.id]
        for task_id in reply.lost:
            _log.warning("report refused, the lease was lost", task_id=task_id)
        return reply, sent

    async def _answered(
        self,
        outcomes: list[Outcome],
        want: int,
        held_beside: int,
        give_up_at: Callable[[], float | None],
    ) -> tuple[ClaimReply, float]:
        while True:
            sent = time.monotonic()
            try:
                reply = await self.queue.settle_and_claim(
                    self._name,
                    self._sequence,
                    outcomes,
                    min(want, SLICE),
                    lease_us=self._lease_us,
                    wait_us=int((WAKE_S + 1) * MICROSECOND),
                    held_beside=max(0, held_beside - len(outcomes)),
                )
            except QueueUnavailableError as error:
                end = give_up_at()
                if end is not None and time.monotonic() > end:
                    raise
                _log.warning("redis is away", error=str(error), unsettled=len(outcomes))
                await asyncio.sleep(RETRY_PAUSE_S)
            else:
                return reply, sent

    def hold(self, lease: Lease) -> None:
        """Takes a claim in. An older one of the same task, lost while this worker did not notice, stops."""
        older = self.held.get(lease.claim.id)
        if older is not None:
            self._slots.stop(older, Stop.LEASE_LOST)
        self.held[lease.claim.id] = lease

    async def hand_back(self, leases: list[Lease], *, leave: bool = False) -> None:
        """Gives tasks back to the head of the queue; if Redis is away their leases lapse by themselves."""
        for lease in leases:
            lease.deadline = float("-inf")  # a handler that does not end begins nothing more
            self.held.pop(lease.claim.id, None)
        rest = [(lease.claim.id, lease.claim.epoch, lease.began is not None) for lease in leases]
        with contextlib.suppress(QueueUnavailableError):
            await self.queue.release(self._name, rest, leave=leave)

    # -- loops ------------------------------------------------------------------------------

    async def renew(self) -> None:
        """In the handlers' own loop on purpose: a loop that is stuck must lose its leases."""
        due = time.monotonic() + self._settings.renew_s
        while True:
            missed = due == float("-inf")
            await asyncio.sleep(RETRY_PAUSE_S if missed else min(REAP_TICK_S, self._settings.renew_s))
            if time.monotonic() < due and not any(lease.progress for lease in self.held.values()):
                continue
            due = await self._renew_all(list(self.held.values())) + self._settings.renew_s

    async def _renew_all(self, leases: list[Lease]) -> float:
        """When the leases were renewed; a time past if they could not be."""
        sent = time.monotonic()
        if not leases:
            return sent
        told = [lease.progress for lease in leases]
        held = [(x.claim.id, x.claim.epoch, p) for x, p in zip(leases, told, strict=True)]
        try:
            gone = set(await self.queue.renew(held, lease_us=self._lease_us))
        except QueueUnavailableError:
            return float("-inf")
        for lease, progress in zip(leases, told, strict=True):
            if lease.progress is progress:
                lease.progress = None
            if lease.claim.id not in gone:
                lease.deadline = sent + self._settings.lease_s
            elif self.held.get(lease.claim.id) is lease:  # else settled while this call was under way
                _log.warning("lease lost, handler stopped", task_id=lease.claim.id)
                if not self._slots.stop(lease, Stop.LEASE_LOST):
                    self.report(lease, None)
        return sent

    async def reap(self) -> None:
        """Keeps house until cancelled; it is the worker's heartbeat, too."""
        retention = self._settings.retention
        while True:
            pause_s = REAP_TICK_S
            try:
                reply = await self.queue.reap(
                    self._name,
                    lease_us=self._lease_us,
                    retention=retention,
                    poison_kills=self._settings.poison_kills,
                    about=self._about(),
                )
            except QueueUnavailableError:
                pause_s = RETRY_PAUSE_S
            else:
                self.contact = time.monotonic()
                for task_id in reply.lapsed:
                    _log.warning("lease of another worker lapsed", task_id=task_id)
                for task_id in reply.asked:
                    self._cancel(task_id)
                if reply.more:
                    pause_s = REAP_AGAIN_S
                elif reply.next_due_us is not None:
                    pause_s = min(REAP_TICK_S, max(REAP_FLOOR_S, reply.next_due_us / MICROSECOND))
            await asyncio.sleep(pause_s)

    def _cancel(self, task_id: str) -> None:
        lease = self.held.get(task_id)
        if lease is None or lease.stop is not None:
            return
        if not self._slots.stop(lease, Stop.ASKED) and lease.began is None:
            self.report(lease, ended(lease, Status.CANCELLED, "cancelled"))

    async def wake(self) -> None:
        """Waits for tokens while the queue is empty."""
        while True:
            await self.idle.wait()
            try:
                self.token = await self._waking.wait_for_wake(WAKE_S) or self.token
            except QueueUnavailableError:
                await asyncio.sleep(RETRY_PAUSE_S)
            self.idle.clear()
            self._changed.set()
