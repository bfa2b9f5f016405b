"""The places in which a worker runs tasks: so many at a time, each a coroutine that takes the next."""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from worker.context import Lease, Stop

TURN_S = 0.002
"""How long a slot goes on with tasks that never wait before it lets the loop turn."""
WATCH_S = 0.1
PREFETCH_S = 0.005
"""Tasks are claimed ahead of free places only as far as they will begin within this time."""
MAX_PREFETCH = 400
STALE_S = 0.25
"""What was claimed ahead and has not begun by then is handed back: every place is taken for longer."""
CLOSE_S = 1.0
"""How long handlers may take to clean up once the worker ends."""
_log = structlog.get_logger("worker")


class Slots:
    """Runs leases, `concurrency` at a time; those beyond that wait in `backlog`.

    `run` is called for each and has to deliver its outcome; it must not raise, but for
    CancelledError when the slots are closed. `limits` answers how long (s) an attempt may take and
    may be silent.
    """

    def __init__(
        self,
        concurrency: int,
        run: Callable[[Lease], Awaitable[None]],
        limits: Callable[[Lease], tuple[float | None, float | None]],
        *,
        prefetch: bool,
    ) -> None:
        self.concurrency = concurrency
        self.backlog: deque[Lease] = deque()
        self.running: dict[asyncio.Task[None], Lease] = {}
        self._run = run
        self._limits = limits
        self._prefetch = prefetch
        self._idle: deque[asyncio.Future[None]] = deque()
        self._slots: set[asyncio.Task[None]] = set()
        self._context = contextvars.copy_context()
        self._mean_s = 1.0  # of the last attempts, weighted to the latest
        self._stale_since: float | None = None
        self._closed = False

    @property
    def held(self) -> int:
        return len(self.running) + len(self.backlog)

    @property
    def room(self) -> int:
        """How many more may be claimed: the free places, and what will begin in the next 5 ms."""
        ahead = 0
        if self._prefetch:
            ahead = min(MAX_PREFETCH, int(self.concurrency * PREFETCH_S / self._mean_s))
        return max(0, self.concurrency + ahead - self.held)

    def start(self, leases: list[Lease]) -> None:
        """Runs them as soon as there are places, in their order."""
        self.backlog.extend(leases)
        for _ in range(len(leases)):
            if self._wake_one():
                continue
            if len(self._slots) >= self.concurrency:
                break
            self._open()

    def _wake_one(self) -> bool:
        while self._idle:
            waiting = self._idle.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return True
        return False

    def stop(self, lease: Lease, why: Stop) -> bool:
        """Tells a lease to stop; False if it waits in the backlog (it is taken out of it)."""
        if lease.stop is None or why.ends_lease:
            lease.stop = why
        for slot, running in self.running.items():
            if running is lease:
                slot.cancel()
                return True
        if lease in self.backlog:
            self.backlog.remove(lease)
        return False

    def take_backlog(self) -> list[Lease]:
        """Everything that has not begun; it is the caller's now, and no more is claimed ahead for a while."""
        rest = list(self.backlog)
        self.backlog.clear()
        self._mean_s = max(self._mean_s, STALE_S)
        return rest

    @property
    def stale(self) -> bool:
        """Whether the backlog's first has waited for long, every place being taken."""
        now = time.monotonic()
        if not self.backlog or self.running.keys() < self._slots:
            self._stale_since = None
        elif self._stale_since is None:
            self._stale_since = now
        else:
            return now - self._stale_since > STALE_S and all(
                lease.began is not None and now - lease.began > STALE_S for lease in self.running.values()
            )
        return False

    def watch(self) -> None:
        """Stops the attempts that are over their time limit or silent for too long."""
        now = time.monotonic()
        for lease in list(self.running.values()):
            if lease.stop is not None or lease.began is None:
                continue
            limit_s, heartbeat_s = self._limits(lease)
            if limit_s is not None and now - lease.began > limit_s:
                self.stop(lease, Stop.TIME_LIMIT)
            elif heartbeat_s is not None and now - lease.beat > heartbeat_s:
                self.stop(lease, Stop.NO_HEARTBEAT)

    async def close(self) -> None:
        """Cancels whatever still runs; what has not ended within a second stays in `running`."""
        self._closed = True
        for lease in self.running.values():
            lease.stop = Stop.WORKER_ENDS
        for slot in self._slots:
            slot.cancel()
        if self._slots:
            await asyncio.wait(self._slots, timeout=CLOSE_S)

    def _open(self) -> None:
        # In a context of its own, so that what a handler sets there is not seen by the next slot.
        context = self._context.copy()
        slot = asyncio.get_running_loop().create_task(self._serve(), context=context)
        self._slots.add(slot)
        slot.add_done_callback(self._ended)

    def _ended(self, slot: asyncio.Task[None]) -> None:
        self._slots.discard(slot)
        if not slot.cancelled() and (error := slot.exception()) is not None:
            _log.error("a place to run tasks failed", error=repr(error))
        if self.backlog and not self._closed:
            self._open()

    async def _serve(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        turn_ends = time.monotonic() + TURN_S
        while True:
            while not self.backlog:
                waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._idle.append(waiting)
                await waiting
                turn_ends = time.monotonic() + TURN_S
            lease = self.backlog.popleft()
            lease.began = lease.beat = began = time.monotonic()
            self.running[me] = lease
            try:
                await self._run(lease)
            finally:
                del self.running[me]
            now = time.monotonic()
            self._mean_s += (max(now - began, 1e-5) - self._mean_s) / 16
            # Neither what that handler set, nor a cancellation meant for it, must reach the next one:
            # that one begins in a place of its own.
            if me.cancelling() or contextvars.copy_context() != self._context:
                return
            if now > turn_ends:
                await asyncio.sleep(0)
                turn_ends = time.monotonic() + TURN_S
