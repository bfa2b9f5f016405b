"""One peer on a Redis of its own: its client, its workers, and what its handlers noted."""

import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.bench import environments
from loadtest.bench.catalogue import OWN, Peer
from loadtest.bench.children import BenchError, Child, wait_until
from loadtest.bench.course import Bench
from loadtest.bench.redisserver import RedisServer

ROOT = Path(__file__).resolve().parents[2]
PEERS_FOLDER = Path(__file__).parent / "peers"
SHORT_S = 10


@dataclass(frozen=True, slots=True)
class Note:
    """One line that a handler left: its words, its process, when (monotonic seconds)."""

    words: tuple[str, ...]
    pid: int
    at_s: float


def read_notes(text: str) -> list[Note]:
    """Whole lines only: the last one may still be under way."""
    lines = text[: text.rfind("\n") + 1].splitlines()
    parts = [line.split() for line in lines]
    return [Note(tuple(p[:-2]), int(p[-2]), float(p[-1])) for p in parts]


@dataclass(slots=True)
class Trial:
    """Everything of one peer for one measurement; `with` ends it."""

    peer: Peer
    bench: Bench
    redis: RedisServer
    expected: int = 0
    short: bool = False
    concurrency: int | None = None
    shared_notes: Path | None = None
    _folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="bench-notes-")))
    _client: Child | None = None
    _workers: list[Child] = field(default_factory=list[Child])

    def __enter__(self) -> "Trial":
        return self

    def __exit__(self, *_: object) -> None:
        for child in [*self._workers, *([self._client] if self._client else [])]:
            child.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def beside(self, *, concurrency: int) -> "Trial":
        """Another worker's settings on the same Redis; its handlers write into the same notes."""
        return Trial(
            self.peer,
            self.bench,
            self.redis,
            expected=self.expected,
            short=self.short,
            concurrency=concurrency,
            shared_notes=self._notes_file(),
        )

    # -- the client ---------------------------------------------------------------------------

    def open_client(self, core: int | None = None) -> None:
        """Starts the client, on the load's core unless told otherwise, and waits until it is ready."""
        # Not as a script: some queues name a task by the module that it is in.
        start = f"import {self.peer.module}; {self.peer.module}.main()"
        words = [str(self._bin() / "python"), "-c", start]
        where = self.bench.cores.others if core is None else core
        self._client = self.bench.children.start(
            self._log_name("client"), words, core=where, env=self._env(), cwd=self._folder, piped=True
        )
        self._answer()

    def close_client(self) -> None:
        """Ends it, where it would be a guest in what is measured."""
        if self._client is not None:
            self._client.kill()

    def order(self, do: str, **more: Any) -> dict[str, float]:
        """One order to the client, and its answer (see peers/client.py)."""
        assert self._client is not None
        stdin, _ = self._client.pipes
        stdin.write(json.dumps({"do": do, **more}) + "\n")
        stdin.flush()
        return self._answer()

    def check_pending(self, tasks: int) -> None:
        """Raises BenchError unless just so many tasks wait: what follows would measure something else."""
        found = self.order("pending")["pending"]
        if found != tasks:
            raise BenchError(f"{self.peer.name}: {tasks} tasks were sent and {found} wait")

    def _answer(self) -> dict[str, float]:
        assert self._client is not None
        line = self._client.pipes[1].readline()
        if not line:
            raise BenchError(f"the client of {self.peer.name} ended, see {self._client.log}")
        return json.loads(line)

    # -- workers ------------------------------------------------------------------------------

    def start_worker(self, **env: str) -> Child:
        """One worker process on the measured core. It is not waited for: its handlers tell of themselves."""
        words = [self._filled(word) for word in self.peer.words]
        words[0] = str(self._bin() / words[0])
        worker = self.bench.children.start(
            self._log_name("worker"),
            words,
            core=self.bench.cores.measured,
            env={**self._env(), **env},
            cwd=self._folder,
        )
        self._workers.append(worker)
        return worker

    def notes(self) -> list[Note]:
        """What the handlers noted so far."""
        file = self._notes_file()
        return read_notes(file.read_text()) if file.exists() else []

    def wait_for_note(self, word: str, worker: Child, timeout_s: float, name: str = "") -> Note:
        """The first note `word`, or `word name`; BenchError when the worker ends or time runs out."""
        found: list[Note] = []
        wanted = (word, name) if name else (word,)

        def there() -> bool:
            worker.check()
            found[:] = [note for note in self.notes() if note.words[: len(wanted)] == wanted]
            return bool(found)

        wait_until(there, timeout_s, f"{self.peer.name}: a handler notes {word!r}, see {worker.log}", 0.02)
        return found[0]

    def wait_until_drained(self, timeout_s: float) -> float:
        """When nothing was pending any more, on the monotonic clock."""
        end = time.monotonic() + timeout_s
        while self.order("pending")["pending"]:
            if time.monotonic() > end:
                raise BenchError(
                    f"{self.peer.name}: tasks are still pending {timeout_s:g} s after the last ran"
                )
            time.sleep(0.005)
        return time.monotonic()

    # -- settings -----------------------------------------------------------------------------

    def _notes_file(self) -> Path:
        return self.shared_notes or self._folder / "notes"

    def _bin(self) -> Path:
        name = self.peer.environment
        return (environments.prepare(name, self.bench.cache) if name else environments.own_folder()) / "bin"

    def _log_name(self, what: str) -> str:
        return f"{self.peer.module}-{what}"

    def _filled(self, word: str) -> str:
        concurrency = self._concurrency()
        return word.format(
            concurrency=concurrency,
            redis_url=self.redis.url,
            peers=PEERS_FOLDER,
            bin=self._bin(),
            pool="threads",
            redelivery=f"{SHORT_S}s" if self.short else "5m",
            maintenance=SHORT_S if self.short else 600,
        )

    def _concurrency(self) -> int:
        if self.peer.single or self.concurrency is None:
            return self.peer.concurrency
        return self.concurrency

    def _env(self) -> dict[str, str]:
        paths = [PEERS_FOLDER] if self.peer.environment else [PEERS_FOLDER, ROOT / "services", ROOT]
        env = {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "BENCH_REDIS_URL": self.redis.url,
            "BENCH_CONCURRENCY": str(self._concurrency()),
            "BENCH_RESULTS": str(int(self.peer.results)),
            "BENCH_SHORT": str(int(self.short)),
            "BENCH_EXPECTED": str(self.expected),
            "BENCH_NOTES": str(self._notes_file()),
        }
        if self.peer.name == OWN:
            env |= {
                "REDIS_URL": self.redis.url,
                "WORKER_HANDLERS": "loadtest.bench.handlers",
                "PROBE_PORT": "0",
            }
            if self.concurrency is not None:
                env["WORKER_CONCURRENCY"] = str(self.concurrency)
        return env
