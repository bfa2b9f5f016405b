"""Everything that runs in a run: Redis, the proxy, the mail server, APIs and workers; started and ended."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGTERM

from loadtest.chaos.injection import Stage
from loadtest.chaos.options import Options
from loadtest.chaos.processes import (
    START_S,
    Place,
    StartError,
    free_ports,
    listening,
    python,
    service_env,
    worker_env,
)
from loadtest.chaos.redis_place import Redis

STOP_S = 30.0


class Scene:
    """The processes of one run, in a folder of their own for logs, ledger and Redis' data."""

    def __init__(self, options: Options, appendfsync: str, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "ledger.jsonl"
        logs = folder / "logs"
        logs.mkdir(parents=True)
        clients = [f"a{n}" for n in range(options.apis)] + [f"w{n}" for n in range(options.workers)]
        redis_port, smtp_port, *rest = free_ports(2 + len(clients) + options.apis)
        lines = dict(zip(clients, rest, strict=False))
        self._api_ports = rest[len(clients) :]
        self.apis = [f"http://127.0.0.1:{port}" for port in self._api_ports]
        self._smtp_port, self._lines = smtp_port, lines
        self.redis = Redis(folder / "redis", redis_port, appendfsync, logs / "redis.log")
        self._proxy = Place(
            "proxy",
            python("loadtest.chaos.proxy", "--redis-port", str(redis_port), "--ports", json.dumps(lines)),
            {}, logs / "proxy.log",
        )  # fmt: skip
        self.mail = Place("mail", self._mail_command(options), {}, logs / "mail.log")
        self._api_places = [
            Place(
                f"a{n}", python("api"),
                service_env(options.services, lines[f"a{n}"], PORT=str(port), HOST="127.0.0.1"),
                logs / f"a{n}.log",
            )
            for n, port in enumerate(self._api_ports)
        ]  # fmt: skip
        self._workers = [
            Place(
                f"w{n}", python("worker"),
                worker_env(
                    options.services, lines[f"w{n}"], smtp_port, LEASE_S=str(options.lease_s),
                    RENEW_S=str(options.renew_s), WORKER_CONCURRENCY=str(options.concurrency),
                    SMTP_POOL_SIZE=str(options.concurrency),
                ),
                logs / f"w{n}.log",
            )
            for n in range(options.workers)
        ]  # fmt: skip
        self.stage = Stage(self.redis, self._proxy, self.services, logs / "proxy.log")

    @property
    def services(self) -> list[Place]:
        return [*self._api_places, *self._workers]

    @property
    def workers(self) -> int:
        return len(self._workers)

    def _mail_command(self, options: Options) -> list[str]:
        return python(
            "loadtest.chaos.mailserver", "--port", str(self._smtp_port), "--ledger", str(self.ledger),
            "--seed", str(options.seed), "--percent", json.dumps(options.mail_percent),
            "--failing-attempts", str(options.mail_failing_attempts),
        )  # fmt: skip

    async def start(self) -> None:
        """Returns once all take connections; StartError names the log of one that does not."""
        await self.redis.start()
        self.mail.start()
        self._proxy.start()
        await listening(self.mail, self._smtp_port, hear=b"220")
        for port in self._lines.values():
            await listening(self._proxy, port)
        for place in self.services:
            place.start()
        for place, port in zip(self._api_places, self._api_ports, strict=True):
            await listening(place, port)

    async def await_workers(self, stats: Callable[[], Awaitable[dict[str, int] | None]]) -> None:
        """Returns once the API counts all workers; StartError otherwise."""
        deadline = time.monotonic() + START_S
        while (await stats() or {}).get("workers", 0) < self.workers:
            if self.accidents() or time.monotonic() > deadline:
                raise StartError(f"the workers did not start: see {self.folder / 'logs'}")
            await asyncio.sleep(0.1)

    def accidents(self) -> list[str]:
        """Processes that ended although nobody ended them."""
        everyone = [self.redis.place, self._proxy, self.mail, *self.services]
        return [
            f"{place.incarnation} ended by itself with status {place.child.returncode}"
            for place in everyone
            if place.expected and place.child is not None and not place.running()
        ]

    async def stop(self) -> None:
        """Ends workers and APIs in good order, then the mail server, so that the ledger is complete."""
        for group in (self.services, [self.mail]):
            running = [place for place in group if place.running()]
            for place in running:
                place.signal(SIGTERM)
            await asyncio.gather(*(place.ended(STOP_S) for place in running))

    def end(self) -> None:
        """Kills whatever is left."""
        for place in (*self.services, self._proxy, self.mail, self.redis.place):
            place.end()


@asynccontextmanager
async def scene(options: Options, appendfsync: str, folder: Path) -> AsyncGenerator[Scene]:
    """A scene that has started; nothing of it is left running afterwards."""
    made = Scene(options, appendfsync, folder)
    try:
        await made.start()
        yield made
    finally:
        made.end()
