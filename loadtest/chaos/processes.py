"""The real processes of a run: each with its log, ended by its own id, and dying with this one."""

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtest.chaos.record import DOMAIN

ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0
TICK_S = 0.02
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class StartError(Exception):
    """A process did not come up; the message names its log."""


def free_ports(number: int) -> list[int]:
    """Different ports of the loopback that nothing listens on."""
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Place:
    """A place for one process at a time: `name` with an incarnation number, started again after each end."""

    def __init__(self, name: str, words: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._words, self._env, self.log = list(words), dict(env), log
        self._number = -1
        self.child: subprocess.Popen[bytes] | None = None
        self.expected = False
        """Whether it should be running; if it is not, that is an accident."""

    @property
    def incarnation(self) -> str:
        """`w0.3` is the fourth process at place w0."""
        return f"{self.name}.{self._number}"

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def running(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def start(self) -> None:
        """Starts the next incarnation; `{incarnation}` in its environment is replaced by its name."""
        self._number += 1
        env = {key: value.replace("{incarnation}", self.incarnation) for key, value in self._env.items()}
        with self.log.open("ab") as out:
            out.write(f"--- {self.incarnation} at {time.time():.3f}\n".encode())
            out.flush()
            self.child = subprocess.Popen(  # noqa: S603
                self._words,
                env={**os.environ, **env},
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self.expected = True

    def tell(self, line: bytes) -> None:
        """A line to its stdin."""
        assert self.child is not None
        assert self.child.stdin is not None
        self.child.stdin.write(line + b"\n")
        self.child.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        assert self.child is not None
        if number is signal.SIGKILL or number is signal.SIGTERM:
            self.expected = False
        self.child.send_signal(number)

    async def ended(self, limit_s: float) -> bool:
        """Whether it ended within the limit."""
        deadline = time.monotonic() + limit_s
        while self.running() and time.monotonic() < deadline:  # noqa: ASYNC110  it tells of itself in no other way
            await asyncio.sleep(TICK_S)
        return not self.running()

    async def kill(self) -> None:
        """SIGKILL, and gone."""
        self.signal(signal.SIGKILL)
        await self.ended(10)

    def end(self) -> None:
        """Kills it if it still runs, frozen or not."""
        self.expected = False
        if self.child is not None:
            if self.child.poll() is None:
                self.child.kill()
            self.child.wait(10)
            if self.child.stdin is not None:
                self.child.stdin.close()


async def listening(place: Place, port: int, say: bytes = b"", hear: bytes = b"") -> None:
    """Returns once it takes connections on the port, and answers `say` with `hear`; StartError otherwise."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if not place.running():
            break
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(say)
                answer = await reader.readline() if hear else b""
                writer.close()
            if answer.startswith(hear):
                return
        except (OSError, TimeoutError):
            pass
        await asyncio.sleep(TICK_S)
    raise StartError(f"{place.incarnation} did not start: see {place.log}")


def python(module: str, *words: str) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *words]


def service_env(services: Path, redis_port: int, **more: str) -> dict[str, str]:
    """The environment of an API or a worker whose code lies in the folder `services`."""
    return {
        "PYTHONPATH": f"{services}:{ROOT}",
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "LOG_FORMAT": "json",
        **more,
    }


def worker_env(services: Path, redis_port: int, smtp_port: int, **more: str) -> dict[str, str]:
    """A worker's environment; its sender address names its incarnation to the mail server."""
    return service_env(
        services, redis_port, PROBE_PORT="0", POD_NAME="{incarnation}", EMAIL_TRANSPORT="smtp",
        EMAIL_SENDER=f"{{incarnation}}@{DOMAIN}", SMTP_HOST="127.0.0.1", SMTP_PORT=str(smtp_port),
        SMTP_TLS="none", **more,
    )  # fmt: skip
