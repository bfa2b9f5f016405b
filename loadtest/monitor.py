"""Looks once a second at cluster, API, mail server and Locust, and keeps what it sees."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
from lightkube import ApiError

from loadtest.cluster import Cluster, Usage
from loadtest.endpoints import Api, MailServer
from loadtest.generator import Generator
from loadtest.record import Phase, Sample, seconds_since_1970

LOOK_EVERY_S = 1.0
USAGE_EVERY_S = 3.0
"""The metrics API has something new every 10 to 15 s."""
RATE_OVER_S = 5.0


class TimeOutError(Exception):
    """What was waited for did not come."""


class Monitor:
    """The run's eyes. `wait` is the only way to let time pass: nothing happens unseen or unbounded."""

    def __init__(self, cluster: Cluster, api: Api, mail_server: MailServer, tag: str) -> None:
        self._cluster, self._api, self._mail = cluster, api, mail_server
        self._mark = f"+{tag}@"
        self._started, self.started_at = time.monotonic(), time.time()
        self._seq = mail_server.last_seq()
        self._ledger = mail_server.stats().get("ledger")
        self._machine = _machine_ticks()
        self._usage_at = float("-inf")
        self._progress = Progress()
        self.phase = Phase.SETTLE
        self.marks: dict[str, float] = {Phase.SETTLE: 0.0}
        self.samples: list[Sample] = []
        self.usages: list[tuple[float, Usage]] = []
        self.deliveries: list[tuple[str, float]] = []
        self.ledger_kept = True
        self.generator: Generator | None = None

    @property
    def now(self) -> float:
        """Seconds since the run's start."""
        return time.monotonic() - self._started

    @property
    def last(self) -> Sample | None:
        """The newest sample."""
        return self.samples[-1] if self.samples else None

    def enter(self, phase: Phase) -> None:
        """Begin a phase."""
        self.phase = phase
        self.marks[phase] = self.now

    def wait(self, condition: Callable[[Sample], bool], timeout_s: float, what: str) -> Sample:
        """Look every second until the condition holds of a new sample; TimeOutError after `timeout_s`."""
        deadline = self.now + timeout_s
        while True:
            due = self.now + LOOK_EVERY_S
            sample = self.look()
            if sample and condition(sample):
                return sample
            if self.now > deadline:
                raise TimeOutError(f"{what}: not within {timeout_s:.0f} s")
            if self.generator:
                self.generator.assure_running()
            time.sleep(max(0.0, due - self.now))

    def look(self) -> Sample | None:
        """Take one sample; None, and a gap in the record, when the cluster or a service does not answer."""
        try:
            sample = self._sample()
        except (ApiError, httpx2.HTTPError, ValueError, KeyError) as fault:
            self._progress.line(f"no sample: {type(fault).__name__}: {fault}"[:160])
            return None
        self.samples.append(sample)
        self._progress.show(sample, len(self.generator.accepted) if self.generator else 0)
        return sample

    def _sample(self) -> Sample:
        if self.now - self._usage_at >= USAGE_EVERY_S:
            self._read_usage()
        workers, queue = self._cluster.workers(), self._api.queue()
        self._read_ledger()
        generator = self.generator
        if generator:
            generator.read()
        line: dict[str, Any] = generator.last if generator and generator.running else {}
        sample = Sample(
            t=self.now, phase=self.phase, desired=workers.desired, ready=workers.ready, pods=workers.pods,
            ending=workers.ending, cpu_percent=workers.cpu_percent,
            cpu_m=self.usages[-1][1].total_m if self.usages else None,
            queue_length=int(queue["queue_length"]), in_flight=int(queue.get("processing", 0)),
            accepted=len(generator.accepted) if generator else 0,
            delivered=len(self.deliveries), failed=generator.failed if generator else 0,
            p50_ms=line.get("p50_ms"), p95_ms=line.get("p95_ms"), machine_percent=self._machine_percent(),
        )  # fmt: skip
        return self._with_rates(sample)

    def _with_rates(self, sample: Sample) -> Sample:
        past = next((s for s in reversed(self.samples) if sample.t - s.t >= RATE_OVER_S), None)
        if past is None or past.accepted > sample.accepted or past.delivered > sample.delivered:
            return sample
        seconds = sample.t - past.t
        return replace(
            sample,
            accepted_per_s=(sample.accepted - past.accepted) / seconds,
            delivered_per_s=(sample.delivered - past.delivered) / seconds,
        )

    def _read_usage(self) -> None:
        self._usage_at = self.now
        usage = self._cluster.usage()
        if usage.by_pod_m and (not self.usages or usage.scrapes != self.usages[-1][1].scrapes):
            self.usages.append((self.now, usage))

    def _read_ledger(self) -> None:
        if self._mail.stats().get("ledger") != self._ledger:
            self.ledger_kept = False
        for delivery in self._mail.after(self._seq):
            self._seq = delivery.seq
            if self._mark in delivery.recipient:
                self.deliveries.append((delivery.task_id, seconds_since_1970(delivery.at)))

    def _machine_percent(self) -> float | None:
        before, self._machine = self._machine, _machine_ticks()
        if before is None or self._machine is None or self._machine[1] == before[1]:
            return None
        return 100 * (self._machine[0] - before[0]) / (self._machine[1] - before[1])


def _machine_ticks() -> tuple[int, int] | None:
    """Busy and all ticks of this machine's processors, where there is /proc."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return None
    ticks = [int(field) for field in first.split()[1:9]]  # guest time is in user time already
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


class Progress:
    """One line that tells how the run goes: rewritten on a terminal, every five seconds elsewhere."""

    EVERY_S = 5.0

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._shown_at = float("-inf")

    def show(self, sample: Sample, _accepted: int) -> None:
        """Tell of a sample."""
        if not self._terminal and sample.t - self._shown_at < self.EVERY_S:
            return
        self._shown_at = sample.t
        cpu = "-" if sample.cpu_percent is None else f"{sample.cpu_percent}%"
        p95 = "-" if sample.p95_ms is None else f"{sample.p95_ms:.0f} ms"
        text = (
            f"{int(sample.t) // 60:02d}:{int(sample.t) % 60:02d} {sample.phase:<9} workers {sample.ready}/"
            f"{sample.desired}  cpu {cpu}  queue {sample.queue_length}+{sample.in_flight}  accepted "
            f"{sample.accepted} ({sample.accepted_per_s:.0f}/s)  delivered {sample.delivered} "
            f"({sample.delivered_per_s:.0f}/s)  p95 {p95}  failed {sample.failed}"
        )
        if self._terminal:
            print(f"\r\x1b[2K{text}", end="", flush=True)
        else:
            print(text, flush=True)

    def line(self, text: str) -> None:
        """Tell something once."""
        print(f"\r\x1b[2K{text}" if self._terminal else text, flush=True)
