"""The worker: one pump that claims and settles for all its queues, and the drain on SIGTERM."""

import asyncio
import contextlib
import os
import re
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from taskqueue import __version__
from taskqueue.errors import QueueUnavailableError
from taskqueue.model import ClaimReply, Next
from taskqueue.queue import Queue

from worker.attempt import Attempts
from worker.context import Lease
from worker.periodic import Periodic
from worker.registry import TaskType
from worker.settings import WorkerSettings
from worker.slots import WATCH_S, Slots
from worker.source import Source

CONTACT_S = 5.0
"""Readiness wants an answered write this recent: five reap ticks."""
DRAIN_S = 5.0
"""How long a worker heeds that a suspect waits to be run alone; then it asks again."""
SHOWN_TASKS = 100
_log = structlog.get_logger("worker")


class Runtime:
    """One worker. `run` returns after `stop` was called and all it held is settled or handed back.

    `queues` are pairs of the same queue; the second has a connection of its own, as it blocks.
    """

    def __init__(
        self,
        queues: list[tuple[Queue, Queue]],
        types: Mapping[str, TaskType],
        resources: Mapping[str, Any],
        settings: WorkerSettings,
    ) -> None:
        pod = re.sub(r"\s", "-", settings.pod_name)
        self.name = f"{pod}-{os.getpid()}-{secrets.token_hex(3)}"
        self._settings = settings
        self._types = types
        self._attempts = Attempts(types, resources, settings.max_result_bytes)
        self._changed = asyncio.Event()
        self.slots = Slots(
            settings.worker_concurrency,
            self._attempt,
            self._attempts.limits,
            prefetch=all(kind.prefetch for kind in types.values()),
        )
        self._sources = [
            Source(queue, waking, self.name, self.slots, settings, self._about, self._changed)
            for queue, waking in queues
        ]
        self._started = datetime.now(UTC).isoformat()
        self._alone: Lease | None = None
        self._home = queues[0][0]
        self._grace_end: float | None = None
        self._stopping = False
        self._began_to_stop = False

    @property
    def ready(self) -> bool:
        """Whether this worker takes tasks: Redis took a write of it lately and it is not stopping."""
        oldest = min(source.contact for source in self._sources)
        return not self._stopping and time.monotonic() - oldest < CONTACT_S

    def stop(self) -> None:
        """Claims nothing more; what is under way may finish within the grace period."""
        if not self._stopping:
            self._grace_end = time.monotonic() + self._settings.shutdown_grace_s
        self._stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Works until stopped. A loop that fails ends the worker with its error."""
        pump = asyncio.create_task(self._pump(), name="pump")
        loops = [
            pump,
            asyncio.create_task(self._watch(), name="watch"),
            asyncio.create_task(self._periodic(), name="periodic"),
        ]
        for source in self._sources:
            loops += [
                asyncio.create_task(loop, name=f"{name} {source.queue.name}")
                for name, loop in (
                    ("renew", source.renew()),
                    ("reap", source.reap()),
                    ("wake", source.wake()),
                )
            ]
        try:
            await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            for loop in loops:
                if loop.done():
                    loop.result()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._leave()

    # -- claiming and settling --------------------------------------------------------------

    async def _pump(self) -> None:
        while True:
            self._changed.clear()
            if self._stopping and not self._began_to_stop:
                await self._begin_to_stop()
            if self._stopping and not self.slots.held and not any(s.outcomes for s in self._sources):
                return
            source = self._next_source()
            if source is not None:
                await self._call(source)
            else:
                await self._await_change()
            if self._grace_end is not None and time.monotonic() >= self._grace_end:
                return

    def _next_source(self) -> Source | None:
        """One with a call to make; each has its turn."""
        for i, source in enumerate(self._sources):
            # A token is answered in any case: that hands it on where there is no room.
            if source.outcomes or source.token or (not source.idle.is_set() and self._room(source)):
                self._sources = [*self._sources[i + 1 :], *self._sources[:i], source]
                return source
        return None

    def _room(self, source: Source) -> int:
        if self._stopping or self._runs_alone():
            return 0
        if (drain_until := self._drain_until()) > time.monotonic():
            return 0 if self._holding() or source.drain_until < drain_until else 1
        return self.slots.room

    def _drain_until(self) -> float:
        return max(source.drain_until for source in self._sources)

    def _runs_alone(self) -> bool:
        alone = self._alone
        return alone is not None and any(s.held.get(alone.claim.id) is alone for s in self._sources)

    def _holding(self) -> int:
        return sum(len(source.held) for source in self._sources)

    async def _await_change(self) -> None:
        """Until something happens, the grace period is over, or it is time to ask again."""
        ends = [end for end in (self._grace_end, self._drain_until()) if end and end > time.monotonic()]
        if not ends:
            await self._changed.wait()
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), max(0.001, min(ends) - time.monotonic()))

    async def _call(self, source: Source) -> None:
        want = self._room(source)
        try:
            reply, sent = await source.call(want, self._holding(), lambda: self._grace_end)
        except QueueUnavailableError:
            return  # the grace period is over
        self._heed(source, reply, want)
        await self._start(source, reply, sent + self._settings.lease_s)

    def _heed(self, source: Source, reply: ClaimReply, want: int) -> None:
        source.drain_until = time.monotonic() + DRAIN_S if reply.next is Next.DRAIN else float("-inf")
        if reply.next is Next.WAIT and want > len(reply.claims):
            source.idle.set()
        else:
            source.idle.clear()

    async def _start(self, source: Source, reply: ClaimReply, deadline: float) -> None:
        leases = [Lease(claim, deadline, source.report) for claim in reply.claims]
        if leases and self._stopping:  # claimed while SIGTERM came: nothing was begun
            await source.hand_back(leases)
            return
        for lease in leases:
            source.hold(lease)
        if reply.next is Next.ALONE and leases:  # none if it was taken back before a repeat was answered
            (self._alone,) = leases
        self.slots.start(leases)

    async def _attempt(self, lease: Lease) -> None:
        # Past its deadline nothing is begun: a worker that was frozen thaws with old claims in hand.
        outcome = None
        try:
            if lease.held:
                outcome = await self._attempts.run(lease)
        except Exception:  # the worker's own fault: the lease lapses, which counts against the task
            _log.exception("attempt not told", task_id=lease.claim.id)
        assert lease.report is not None
        lease.report(lease, outcome)

    async def _watch(self) -> None:
        """Time limits and heartbeats; and nothing waits here that another worker could begin."""
        while True:
            await asyncio.sleep(WATCH_S if self.slots.running else WATCH_S * 5)
            self.slots.watch()
            if self.slots.stale:
                await self._hand_back_backlog()

    async def _periodic(self) -> None:
        await Periodic(self._home, self._types).run()
        await asyncio.Event().wait()  # no type has a cron; a loop of the worker does not end

    # -- leaving ----------------------------------------------------------------------------

    async def _begin_to_stop(self) -> None:
        self._began_to_stop = True
        _log.info("stopping", under_way=len(self.slots.running), not_begun=len(self.slots.backlog))
        await self._hand_back_backlog()

    async def _hand_back_backlog(self) -> None:
        waiting = self.slots.take_backlog()
        for source in self._sources:
            if leases := [lease for lease in waiting if source.held.get(lease.claim.id) is lease]:
                await source.hand_back(leases)

    async def _leave(self) -> None:
        """Cancels what outlived the grace period, reports what ended, hands back the rest."""
        await self.slots.close()
        await asyncio.gather(*(self._leave_queue(source) for source in self._sources))

    async def _leave_queue(self, source: Source) -> None:
        with contextlib.suppress(QueueUnavailableError):  # else the leases lapse by themselves
            while source.outcomes:
                await source.call(0, len(source.held), time.monotonic)
        rest = list(source.held.values())
        await source.hand_back(rest, leave=True)
        _log.info("stopped", queue=source.queue.name, handed_back=len(rest))

    def _about(self) -> bytes:
        """What the list of workers shows of this one."""
        shown = [lease.claim.id for lease in self.slots.running.values()][:SHOWN_TASKS]
        return msgspec.json.encode(
            {
                "pod": self._settings.pod_name,
                "node": self._settings.node_name,
                "version": __version__,
                "started_at": self._started,
                "concurrency": self._settings.worker_concurrency,
                "queues": sorted(source.queue.name for source in self._sources),
                "types": sorted(self._types),
                "schedules": {name: kind.cron for name, kind in self._types.items() if kind.cron},
                "running": len(self.slots.running),
                "tasks": shown,
                "stopping": self._stopping,
            }
        )
