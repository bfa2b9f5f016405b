"""The processes of a bench: each started in a group of its own, each ended with its group."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from loadtest.bench.cores import pinned

TICK_S = 0.005


class BenchError(Exception):
    """Something that a measurement needs did not work; the message says what to look at."""


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str, tick_s: float = TICK_S) -> float:
    """When the condition held first, on the monotonic clock; BenchError naming `what` otherwise."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise BenchError(f"not within {timeout_s:g} s: {what}")
        time.sleep(tick_s)
    return time.monotonic()


class Child:
    """One process with what it forked."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def pipes(self) -> tuple[IO[str], IO[str]]:
        """Its stdin and stdout, where it was started with them."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def running(self) -> bool:
        return self._process.poll() is None

    def check(self) -> None:
        """Raises BenchError with its last words when it has ended."""
        if not self.running():
            words = self.log.read_text(errors="replace")[-2000:]
            raise BenchError(f"ended with status {self._process.returncode}, see {self.log}:\n{words}")

    def terminate(self) -> None:
        """SIGTERM to the process alone, as Kubernetes does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def end(self, grace_s: float = 3.0) -> None:
        """SIGTERM, then SIGKILL to the whole group."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self.kill()


class Children:
    """Starts processes; on leaving, whatever the reason, none is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Child] = []

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._started):
            child.kill()

    def start(
        self,
        name: str,
        words: list[str],
        *,
        core: int,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        piped: bool = False,
    ) -> Child:
        """Runs `words` on a core. Its output goes to a file, but stdout to a pipe when `piped`."""
        log = self._folder / f"{name}.log"
        pipe = subprocess.PIPE if piped else None
        with log.open("ab") as out:
            process = subprocess.Popen(  # noqa: S603 - argument lists only, never a shell
                pinned(core, words),
                env={**os.environ, **(env or {})},
                cwd=cwd,
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or out,
                stderr=out,
                text=True,
                start_new_session=True,
            )
        child = Child(process, log)
        self._started.append(child)
        return child
