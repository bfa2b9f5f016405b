"""One run: load, faults, drain, and the record of all that happened."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec

from loadtest.chaos import schedule
from loadtest.chaos.clients import AT_ONCE, TIMEOUT_S, Clients
from loadtest.chaos.injection import Injector
from loadtest.chaos.options import Options
from loadtest.chaos.record import Conditions, Final, Outcome, Record, read_sends
from loadtest.chaos.scene import Scene, scene

PROGRESS_S = 3.0
DRAIN_TICK_S = 0.3
_OPEN = ("queued", "processing", "scheduled")


class Events:
    """A JSON line for each thing that happened, written at once."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def note(self, event: str, **fields: object) -> None:
        """`event` and its fields, with the time."""
        self._file.write(json.dumps({"at": round(time.time(), 4), "event": event, **fields}).encode() + b"\n")

    def close(self) -> None:
        self._file.close()


async def chaos(options: Options, appendfsync: str) -> Record:
    """Runs once with this fsync policy; everything about it lies in `out/<policy>`."""
    folder = options.out / appendfsync
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    events = Events(folder / "events.jsonl")
    try:
        async with (
            scene(options, appendfsync, folder) as running,
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                connector=aiohttp.TCPConnector(limit=AT_ONCE + 8),
            ) as http,
        ):
            return await Run(options, appendfsync, running, Clients(http, running.apis), events).carry_out()
    finally:
        events.close()


class Run:
    """The phases of a run on a scene that has started."""

    def __init__(
        self, options: Options, appendfsync: str, running: Scene, clients: Clients, events: Events
    ) -> None:
        self._options, self._appendfsync = options, appendfsync
        self._scene, self._clients, self._events = running, clients, events
        self._injector = Injector(running.stage, events.note, clients.accepted_since)
        self._accidents: dict[str, None] = {}
        self._plan = schedule.draw(
            options.seed, options.load_s, options.faults,
            workers=options.workers, apis=options.apis, lease_s=options.lease_s,
        )  # fmt: skip

    async def carry_out(self) -> Record:
        """The record, complete even where the time ran out."""
        self._write("plan.jsonl", self._plan)
        try:
            async with asyncio.timeout(self._options.limit_s), self._shown():
                await self._scene.await_workers(self._clients.stats)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._clients.load(self._options.tasks, self._options.rate))
                    both.create_task(self._injector.carry_out(self._plan))
                self._events.note("load and faults are over")
                await self._drain()
        except TimeoutError:
            self._accident(f"the run was cut off after {self._options.limit_s:g} s")
        return await self._record()

    async def _drain(self) -> None:
        """Until nothing is left to do, or nothing has moved for two leases and the first back-offs."""
        patience_s = 2 * self._options.lease_s + 10
        last, since = dict[str, int](), time.monotonic()
        while time.monotonic() - since < patience_s:
            stats = await self._clients.stats()
            if stats is not None:
                if not any(stats[name] for name in _OPEN):
                    return
                now = {name: stats[name] for name in (*_OPEN, "completed", "failed")}
                if now != last:
                    last, since = now, time.monotonic()
            await asyncio.sleep(DRAIN_TICK_S)
        self._events.note("nothing moves any more", left=last)

    async def _record(self) -> Record:
        finals: list[Final] = []
        try:
            finals = [final async for final in self._clients.finals()]
        except (aiohttp.ClientError, TimeoutError) as error:
            self._accident(f"the API does not list its tasks: {error!r}")
        for accident in (*self._scene.accidents(), *self._injector.accidents):
            self._accident(accident)
        await self._scene.stop()
        self._write("posts.jsonl", self._clients.posts)
        self._write("finals.jsonl", finals)
        return Record(
            conditions=Conditions(
                appendfsync=self._appendfsync, lease_s=self._options.lease_s,
                concurrency=self._options.concurrency, seed=self._options.seed,
            ),
            posts=tuple(self._clients.posts), sends=read_sends(self._scene.ledger),
            faults=tuple(self._injector.faults), finals=tuple(finals),
            unwritten=frozenset(self._injector.unwritten), accidents=tuple(self._accidents),
        )  # fmt: skip

    def _accident(self, words: str) -> None:
        if words not in self._accidents:
            self._accidents[words] = None
            self._events.note("accident", words=words)

    def _write(self, name: str, values: Iterable[object]) -> None:
        lines = (msgspec.json.encode(value) + b"\n" for value in values)
        (self._scene.folder / name).write_bytes(b"".join(lines))

    @asynccontextmanager
    async def _shown(self) -> AsyncGenerator[None]:
        """Prints a line of progress every few seconds, and looks after the processes."""
        showing = asyncio.create_task(self._show())
        try:
            yield
        finally:
            showing.cancel()

    async def _show(self) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_S)
            for accident in self._scene.accidents():
                self._accident(accident)
            count, stats = self._clients.count, await self._clients.stats()
            queue = (
                "Redis is away" if stats is None
                else ", ".join(f"{stats[name]} {name}" for name in (*_OPEN, "completed", "failed"))
            )  # fmt: skip
            print(
                f"  {time.monotonic() - began:4.0f} s  accepted {count[Outcome.ACCEPTED]}"
                f"/{self._options.tasks}, unknown {count[Outcome.UNKNOWN]}, "
                f"faults {len(self._injector.faults)}/{len(self._plan)}; {queue}",
                flush=True,
            )
