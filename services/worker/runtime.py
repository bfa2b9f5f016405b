"""The worker's loops: claim and settle in one pump, renew, reap, wake; and the drain on SIGTERM."""

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Mapping
from typing import Any

import structlog
from taskqueue.errors import QueueUnavailableError
from taskqueue.model import MICROSECOND, Claim, ClaimReply, Outcome
from taskqueue.queue import SLICE, Queue

from worker.attempt import run_attempt
from worker.context import Lease
from worker.registry import TaskType
from worker.settings import WorkerSettings

WAKE_S = 5.0
"""How long one blocking wait lasts; with the reap tick an idle worker makes 1.4 calls a second."""
REAP_TICK_S = 1.0
REAP_FLOOR_S = 0.02
RETRY_PAUSE_S = 0.2
CONTACT_S = 5.0
"""Readiness wants an answered write this recent: five reap ticks."""
_log = structlog.get_logger("worker")


class Runtime:
    """One worker. `run` returns after `stop` was called and all it held is settled or handed back.

    `queue` and `waking` are the same queue; `waking` has a connection of its own, as it blocks.
    """

    def __init__(
        self,
        queue: Queue,
        waking: Queue,
        types: Mapping[str, TaskType],
        resources: Mapping[str, Any],
        settings: WorkerSettings,
    ) -> None:
        self.name = f"{settings.pod_name}-{os.getpid()}-{secrets.token_hex(3)}"
        self._queue = queue
        self._waking = waking
        self._types = types
        self._resources = resources
        self._settings = settings
        self._lease_us = int(settings.lease_s * MICROSECOND)
        self._held: dict[str, Lease] = {}  # claimed and not yet settled
        self._handlers: dict[str, asyncio.Task[None]] = {}
        self._outcomes: list[Outcome] = []
        self._sequence = 0
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()  # the queue was found empty: wait for a token
        self._token = False
        self._stopping = False
        self._contact = float("-inf")

    @property
    def ready(self) -> bool:
        """Whether this worker takes tasks: Redis took a write of it lately and it is not stopping."""
        return not self._stopping and time.monotonic() - self._contact < CONTACT_S

    def stop(self) -> None:
        """Claims nothing more; what is under way may finish within the grace period."""
        self._stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Works until stopped. A loop that fails ends the worker with its error."""
        helpers = [
            asyncio.create_task(loop, name=name)
            for name, loop in (("renew", self._renew()), ("reap", self._reap()), ("wake", self._wake()))
        ]
        pump = asyncio.create_task(self._pump(), name="pump")
        try:
            await asyncio.wait([pump, *helpers], return_when=asyncio.FIRST_COMPLETED)
            for loop in (pump, *helpers):
                if loop.done():
                    loop.result()
        finally:
            for loop in (pump, *helpers):
                loop.cancel()
            await asyncio.gather(pump, *helpers, return_exceptions=True)
            await self._leave()

    # -- claiming and settling --------------------------------------------------------------

    async def _pump(self) -> None:
        grace_end: float | None = None
        while True:
            self._changed.clear()
            if self._stopping and grace_end is None:
                grace_end = time.monotonic() + self._settings.shutdown_grace_s
                _log.info("stopping", under_way=len(self._handlers))
            if self._stopping and not self._handlers and not self._outcomes:
                return
            if self._has_a_call_to_make():
                await self._call(grace_end)
            elif grace_end is None:
                await self._changed.wait()
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), max(0.0, grace_end - time.monotonic()))
            if grace_end is not None and time.monotonic() >= grace_end:
                return

    def _free(self) -> int:
        return 0 if self._stopping else self._settings.worker_concurrency - len(self._handlers)

    def _has_a_call_to_make(self) -> bool:
        return bool(self._outcomes) or self._token or (self._free() > 0 and not self._idle.is_set())

    async def _call(self, give_up_at: float | None) -> None:
        """One round trip, repeated under one sequence number until it is answered."""
        outcomes, self._outcomes = self._outcomes[:SLICE], self._outcomes[SLICE:]
        want = min(self._free(), SLICE)
        self._token = False
        self._sequence += 1
        while True:
            sent = time.monotonic()
            try:
                reply = await self._queue.settle_and_claim(
                    self.name,
                    self._sequence,
                    outcomes,
                    want,
                    lease_us=self._lease_us,
                    wait_us=int((WAKE_S + 1) * MICROSECOND),
                )
                break
            except QueueUnavailableError as error:
                if give_up_at is not None and time.monotonic() > give_up_at:
                    return
                _log.warning("redis is away", error=str(error), unsettled=len(outcomes))
                await asyncio.sleep(RETRY_PAUSE_S)
        self._contact = time.monotonic()
        self._settled(outcomes, reply)
        if len(reply.claims) < want:
            self._idle.set()
        else:
            self._idle.clear()
        await self._start(reply.claims, sent + self._settings.lease_s)

    def _settled(self, outcomes: list[Outcome], reply: ClaimReply) -> None:
        for outcome in outcomes:
            self._held.pop(outcome.id, None)
        for task_id in reply.lost:
            _log.warning("report refused, the lease was lost", task_id=task_id)

    async def _start(self, claims: list[Claim], deadline: float) -> None:
        if claims and self._stopping:  # claimed while SIGTERM came: nothing was begun
            with contextlib.suppress(QueueUnavailableError):  # else the leases lapse by themselves
                await self._queue.release(self.name, [(c.id, c.epoch, False) for c in claims], leave=False)
            return
        for claim in claims:
            lease = Lease(claim, deadline)
            self._held[claim.id] = lease
            self._handlers[claim.id] = asyncio.create_task(self._attempt(lease), name=claim.id)

    async def _attempt(self, lease: Lease) -> None:
        task_id = lease.claim.id
        try:
            outcome = await run_attempt(self._types, self._resources, lease)
        except asyncio.CancelledError:
            if not lease.lost:
                raise  # shutting down: `_leave` hands the task back
            outcome = None
        finally:
            if self._handlers.get(task_id) is asyncio.current_task():
                del self._handlers[task_id]
            self._changed.set()
        if outcome is not None:
            self._outcomes.append(outcome)
        elif self._held.get(task_id) is lease:
            del self._held[task_id]

    # -- the other loops --------------------------------------------------------------------

    async def _renew(self) -> None:
        """In the handlers' own loop on purpose: a loop that is stuck must lose its leases."""
        pause_s = self._settings.renew_s
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self._settings.renew_s
            leases = list(self._held.values())
            if not leases:
                continue
            sent = time.monotonic()
            try:
                lost = await self._queue.renew(
                    [(lease.claim.id, lease.claim.epoch) for lease in leases], lease_us=self._lease_us
                )
            except QueueUnavailableError:
                pause_s = RETRY_PAUSE_S
                continue
            gone = set(lost)
            for lease in leases:
                if lease.claim.id not in gone:
                    lease.deadline = sent + self._settings.lease_s
                elif self._held.get(lease.claim.id) is lease:  # else settled while this call was under way
                    self._drop(lease)

    def _drop(self, lease: Lease) -> None:
        lease.lost = True
        handler = self._handlers.get(lease.claim.id)
        if handler is not None:
            _log.warning("lease lost, handler cancelled", task_id=lease.claim.id)
            handler.cancel()

    async def _reap(self) -> None:
        retention_us = int(self._settings.retention_s * MICROSECOND)
        while True:
            pause_s = REAP_TICK_S
            try:
                reply = await self._queue.reap(self.name, lease_us=self._lease_us, retention_us=retention_us)
            except QueueUnavailableError:
                pause_s = RETRY_PAUSE_S
            else:
                self._contact = time.monotonic()
                for task_id in reply.taken_back:
                    _log.warning("lease of another worker lapsed, task queued again", task_id=task_id)
                if reply.more:
                    pause_s = REAP_FLOOR_S
                elif reply.next_due_us is not None:
                    pause_s = min(REAP_TICK_S, max(REAP_FLOOR_S, reply.next_due_us / MICROSECOND))
            await asyncio.sleep(pause_s)

    async def _wake(self) -> None:
        while True:
            await self._idle.wait()
            try:
                self._token = await self._waking.wait_for_wake(WAKE_S) or self._token
            except QueueUnavailableError:
                await asyncio.sleep(RETRY_PAUSE_S)
            self._idle.clear()
            self._changed.set()

    # -- leaving ----------------------------------------------------------------------------

    async def _leave(self) -> None:
        """Cancels what outlived the grace period, reports what ended, hands back the rest."""
        handlers = list(self._handlers.values())
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        with contextlib.suppress(QueueUnavailableError):  # else the leases lapse by themselves
            while self._outcomes:
                await self._call(time.monotonic())
            rest = [(lease.claim.id, lease.claim.epoch, True) for lease in self._held.values()]
            await self._queue.release(self.name, rest, leave=True)
            _log.info("stopped", handed_back=len(rest))
