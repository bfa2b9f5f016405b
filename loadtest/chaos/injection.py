"""Carries out the planned faults on the running processes, and records when each really happened."""

import asyncio
import json
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from loadtest.chaos.processes import Place
from loadtest.chaos.record import Fault, Kind
from loadtest.chaos.redis_place import Redis
from loadtest.chaos.schedule import Planned

STOP_S = 35.0
"""A worker's grace period (25 s) and what it takes to leave."""
CUT_S = 10.0
"""A cut waits for the next script call on its line; an idle worker makes one a second."""
POLL_S = 0.1
UNWRITTEN_S = 3.0
"""Redis postpones a write by 2 s at the most."""


class Stage:
    """The processes that faults are done to."""

    def __init__(self, redis: Redis, proxy: Place, places: Iterable[Place], told: Path) -> None:
        self.redis, self.proxy = redis, proxy
        self.places = {place.name: place for place in places}
        self._told = told

    def proxy_events(self) -> list[dict[str, str | float]]:
        """What the proxy has said so far."""
        lines = self._told.read_text().splitlines() if self._told.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]


class Injector:
    """One fault after the other at its time. `note` gets every step; `faults` what was done."""

    def __init__(
        self, stage: Stage, note: Callable[..., None], accepted_since: Callable[[float], list[str]]
    ) -> None:
        self._stage, self._note, self._accepted_since = stage, note, accepted_since
        self.faults: list[Fault] = []
        self.unwritten: set[str] = set()
        self.accidents: list[str] = []
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def carry_out(self, plan: Iterable[Planned]) -> None:
        """Returns when the last fault is over and every process was started again."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as faults:
            for planned in plan:
                faults.create_task(self._at(began + planned.at_s, planned))

    async def _at(self, when: float, planned: Planned) -> None:
        await asyncio.sleep(max(0.0, when - time.monotonic()))
        self._note("planned", kind=planned.kind, target=planned.target)
        fault = await self._do(planned)
        if fault is not None:
            self.faults.append(fault)
            self._note("fault", kind=fault.kind, process=fault.process, start=fault.start, end=fault.end)

    async def _do(self, planned: Planned) -> Fault | None:
        match planned.kind:
            case Kind.ROLLING_UPDATE:
                raise ValueError("there is nothing here to update")
            case Kind.REDIS_KILL:
                return await self._in_turn(planned, self._kill_redis)
            case Kind.WORKER_KILL | Kind.API_KILL:
                return await self._in_turn(planned, self._kill)
            case Kind.WORKER_TERM:
                return await self._in_turn(planned, self._terminate)
            case Kind.WORKER_FREEZE:
                return await self._in_turn(planned, self._freeze)
            case Kind.WORKER_CUT | Kind.API_CUT:
                order = {"do": "cut", "side": planned.side, "after_bytes": planned.after_bytes}
                return await self._by_proxy(planned, order, "cut", CUT_S)
            case Kind.WORKER_STALL | Kind.API_STALL:
                order = {"do": "stall", "seconds": planned.duration_s}
                return await self._by_proxy(planned, order, "thawed", planned.duration_s + CUT_S)

    async def _in_turn(self, planned: Planned, do: Callable[[Planned], Awaitable[Fault]]) -> Fault:
        """One at a time at each place: a process that is only just ending has no successor yet."""
        async with self._turns[planned.target]:
            return await do(planned)

    async def _kill_redis(self, planned: Planned) -> Fault:
        redis = self._stage.redis
        victim = redis.place.incarnation
        await redis.place.kill()
        start = time.time()
        written = await asyncio.to_thread(redis.ids_at_the_end)
        unwritten = set(self._accepted_since(start - UNWRITTEN_S)) - written
        self.unwritten |= unwritten
        self._note("redis killed", unwritten=sorted(unwritten))
        await asyncio.sleep(planned.duration_s)
        await redis.start()
        return Fault(
            kind=planned.kind, process=victim, start=start, end=time.time(), unwritten=len(unwritten)
        )

    async def _kill(self, planned: Planned) -> Fault:
        place = self._stage.places[planned.target]
        victim, start = place.incarnation, time.time()
        await place.kill()
        end = time.time()
        place.start()
        return Fault(kind=planned.kind, process=victim, start=start, end=end)

    async def _terminate(self, planned: Planned) -> Fault:
        place = self._stage.places[planned.target]
        victim, start = place.incarnation, time.time()
        place.signal(signal.SIGTERM)
        if not await place.ended(STOP_S):
            self.accidents.append(f"{victim} did not end within {STOP_S:g} s of SIGTERM")
            await place.kill()
        end = time.time()
        place.start()
        return Fault(kind=planned.kind, process=victim, start=start, end=end)

    async def _freeze(self, planned: Planned) -> Fault:
        place = self._stage.places[planned.target]
        victim, start = place.incarnation, time.time()
        place.signal(signal.SIGSTOP)
        await asyncio.sleep(planned.duration_s)
        place.signal(signal.SIGCONT)
        return Fault(kind=planned.kind, process=victim, start=start, end=time.time())

    async def _by_proxy(
        self, planned: Planned, order: Mapping[str, str | float], event: str, limit_s: float
    ) -> Fault | None:
        """The proxy does it; None where no command came along to be cut. A cut is dated by the proxy."""
        place = self._stage.places[planned.target]
        seen = len(self._told_of(event, planned.target))
        start = time.time()
        self._stage.proxy.tell(json.dumps({**order, "target": planned.target}).encode())
        deadline = time.monotonic() + limit_s
        while len(told := self._told_of(event, planned.target)) <= seen:
            if time.monotonic() > deadline:
                self._note("not done", kind=planned.kind, target=planned.target)
                return None
            await asyncio.sleep(POLL_S)
        end = told[seen]
        return Fault(
            kind=planned.kind, process=place.incarnation, start=end if event == "cut" else start, end=end
        )

    def _told_of(self, event: str, target: str) -> list[float]:
        told = self._stage.proxy_events()
        return [float(e["at"]) for e in told if e["event"] == event and e["target"] == target]
