"""What a Locust process writes down: every accepted id, and one line a second with counts and latencies."""

import json
import math
import time
from pathlib import Path
from typing import IO

ACCEPTED = "accepted.tsv"
"""One line an accepted task: its id, a tab, seconds since 1970."""
SECONDS = "seconds.jsonl"


class Recorder:
    """Collects in memory and writes once a second, so that recording costs the load nothing."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._accepted: IO[str] = (directory / ACCEPTED).open("a", encoding="utf-8")
        self._seconds: IO[str] = (directory / SECONDS).open("a", encoding="utf-8")
        self._ids: list[str] = []
        self._latencies_ms: list[float] = []
        self._errors: dict[str, int] = {}
        self.accepted = self.failed = self.followed = 0

    def accept(self, task_id: str) -> None:
        """A task was answered with 201."""
        self.accepted += 1
        self._ids.append(f"{task_id}\t{time.time():.6f}\n")

    def follow(self) -> None:
        """A followed task was seen completed."""
        self.followed += 1

    def posted(self, latency_ms: float) -> None:
        """A POST was answered, well or not."""
        self._latencies_ms.append(latency_ms)

    def fail(self, reason: str) -> None:
        """Any request failed, or a followed task did not complete."""
        self.failed += 1
        self._errors[reason] = self._errors.get(reason, 0) + 1

    def write(self, users: int) -> None:
        """Put what came since the last call on disk."""
        self._accepted.writelines(self._ids)
        self._accepted.flush()
        latencies = sorted(self._latencies_ms)
        line = {
            "at": time.time(), "users": users, "accepted": self.accepted, "failed": self.failed,
            "followed": self.followed,
            "p50_ms": quantile(latencies, 0.5), "p95_ms": quantile(latencies, 0.95),
            "max_ms": quantile(latencies, 1.0), "errors": self._errors,
        }  # fmt: skip
        self._seconds.write(json.dumps(line) + "\n")
        self._seconds.flush()
        self._ids, self._latencies_ms = [], []


def quantile(ordered: list[float], share: float) -> float | None:
    """The value that `share` of the ordered values do not exceed; None of none."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
