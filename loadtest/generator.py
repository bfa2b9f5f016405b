"""The Locust process of a run: started with a rate, read as it goes, and always stopped."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self, cast

from loadtest import recorder

ROOT = Path(__file__).parent.parent
LOG = "locust.log"
STOP_TIMEOUT_S = 15
KILL_AFTER_S = STOP_TIMEOUT_S + 15


class LoadEndedError(Exception):
    """Locust stopped by itself while load was wanted."""


class Generator:
    """One headless Locust at a fixed, open-loop rate; its records are read as they are written."""

    def __init__(self, directory: Path, api_url: str, rate: float, *, tag: str, domain: str, most_s: float):
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._api_url, self._most_s = api_url, most_s
        # One user a mail a second: an answer may take a second before the rate suffers.
        self.users = max(2, math.ceil(rate) + 1)
        self._environment = os.environ | {
            "LOAD_RATE_PER_USER": f"{min(50.0, rate / (self.users - 1)):.6f}", "LOAD_TAG": tag,
            "LOAD_DOMAIN": domain, "LOAD_RECORD_DIR": str(directory), "LOAD_TARGET_CHECKED": "true",
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._places = {recorder.ACCEPTED: 0, recorder.SECONDS: 0}
        for name in (*self._places, LOG):
            (directory / name).unlink(missing_ok=True)  # an earlier run's would be read as this one's
        self.accepted: dict[str, float] = {}
        self.failed = self.followed = 0
        self.failures: dict[str, int] = {}
        self.last: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._process is not None

    def start(self) -> None:
        """Begin; all users are there within a second or two."""
        log = (self._directory / LOG).open("ab")
        command = [
            sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "locustfile.py"), "--headless",
            "--host", self._api_url, "--users", str(self.users), "--spawn-rate", str(self.users),
            "--stop-timeout", str(STOP_TIMEOUT_S), "--run-time", f"{math.ceil(self._most_s)}s", "--skip-log",
        ]  # fmt: skip
        with log:  # a session of its own: an interrupt at the terminal is ours to pass on, in order
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def stop(self) -> None:
        """Let the requests under way end, then read the last lines; kills what does not end in time."""
        if self._process is None:
            return
        try:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(KILL_AFTER_S)
        finally:  # also when whoever waits is interrupted a second time
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        self._process = None
        self.read()

    def read(self) -> None:
        """Take in what Locust has written since the last call."""
        for line in self._new_lines(recorder.ACCEPTED):
            task_id, at = line.split("\t")
            self.accepted[task_id] = float(at)
        for line in self._new_lines(recorder.SECONDS):
            self.last = cast("dict[str, Any]", json.loads(line))
            self.failed, self.followed = int(self.last["failed"]), int(self.last["followed"])
            self.failures = cast("dict[str, int]", self.last["errors"])

    def assure_running(self) -> None:
        """Raise LoadEndedError, with the end of Locust's own words, if it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            words = (self._directory / LOG).read_text(errors="replace").strip().splitlines()[-5:]
            raise LoadEndedError(f"Locust ended with code {self._process.returncode}: " + " | ".join(words))

    def _new_lines(self, name: str) -> list[str]:
        path = self._directory / name
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(self._places[name])
            whole, newline, _ = file.read().rpartition(b"\n")
        self._places[name] += len(whole) + len(newline)
        return whole.decode().splitlines() if newline else []
