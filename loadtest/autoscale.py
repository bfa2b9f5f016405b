"""The proof: workers scale to their maximum and back under real e-mail load, nothing lost or doubled."""

import contextlib
import secrets
import signal
import sys
from collections.abc import Generator as Generates
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

import httpx2
from lightkube import ApiError
from lightkube.core.exceptions import ConfigError

from loadtest import record as records
from loadtest import report, result
from loadtest.calibration import CalibrationError, calibrate, machine_percent_at, needed_rate
from loadtest.cluster import Cluster, Policy, Usage
from loadtest.endpoints import Api, MailServer
from loadtest.generator import Generator, LoadEndedError
from loadtest.guard import Probe, RefusedError, assure_harmless
from loadtest.judge import judge
from loadtest.monitor import Monitor, TimeOutError
from loadtest.options import Options, parse
from loadtest.record import Calibration, Kind, Phase, Plan, Record, Sample, Target

REFUSED, FAILED = 2, 1
SKIPPED_SCRAPES = 2
"""The first measurements after a change still cover the time before it."""
SCRAPES_TIMEOUT_S = 150.0
HOLD_BEYOND_WINDOW_S = 30.0
COOL_SLACK_S = 180.0
"""Beyond window and steps: metrics delay, the autoscaler's 15 s, and the grace period of the last pods."""


class Run:
    """One run from probe to verdict; whatever ends it, the load is stopped and the artefact written."""

    def __init__(self, options: Options, cluster: Cluster, policy: Policy, probe: Probe | None) -> None:
        self._options, self._policy = options, policy
        self._tag = secrets.token_hex(4)
        self._monitor = Monitor(cluster, Api(options.api_url), MailServer(options.mail_url), self._tag)
        self._generators = contextlib.ExitStack()
        kind = Kind.CONTROL if options.control else Kind.PROOF
        hold_s = options.hold_s or policy.down_window_s + HOLD_BEYOND_WINDOW_S
        self.record = Record(
            plan=Plan(kind=kind, rate=options.rate or 0.0, baseline_s=options.baseline_s, hold_s=hold_s,
                      peak_limit_s=options.peak_limit_s, domain=options.domain, tag=self._tag),
            target=Target(context=cluster.context, namespace=cluster.namespace, api_url=options.api_url,
                          mail_url=options.mail_url, worker_image=cluster.image()),
            policy=policy, probe_s=probe.seconds if probe else None,
            started_at=datetime.fromtimestamp(self._monitor.started_at, UTC).isoformat(timespec="seconds"),
        )  # fmt: skip

    def carry_out(self) -> Record:
        """All phases; what cuts them short is in the record's `error`."""
        try:
            with self._generators:
                self._phases()
        except (TimeOutError, LoadEndedError, CalibrationError, RefusedError) as fault:
            self.record = replace(self.record, error=str(fault))
        except KeyboardInterrupt:
            self.record = replace(self.record, error="interrupted")
        except Exception as fault:
            self.record = replace(self.record, error=f"{type(fault).__name__}: {fault}")
            raise
        finally:
            self._conclude()
        return self.record

    def _phases(self) -> None:
        self._settle()
        if self._options.rate is None:
            self._calibrate()
            self._monitor.enter(Phase.SETTLE)
            self._settle()
        elif self._options.control:
            self._set_rate(self._options.rate / 3)
        self._baseline()
        self._load()
        self._drain()
        if not self._options.control:
            self._cool()

    def _settle(self) -> None:
        seconds = self._options.settle_timeout_s or self._cool_s()
        minimum = self._policy.minimum
        self._monitor.wait(
            lambda sample: _is_calm(sample, minimum), seconds, f"{minimum} workers, none ending"
        )

    def _calibrate(self) -> None:
        self._monitor.enter(Phase.IDLE)
        idle = self._measure()
        quiet = self._later(Phase.IDLE)
        self._monitor.enter(Phase.CALIBRATE)
        generator = self._generator("calibrate", self._options.calibration_rate, SCRAPES_TIMEOUT_S + 30)
        busy = self._measure()
        working = self._later(Phase.CALIBRATE)
        generator.stop()
        rate = _delivered_rate(working)
        calibration = calibrate(idle, busy, rate, (quiet, working))
        rate = needed_rate(calibration, self._policy)
        self.record = replace(self.record, calibration=calibration)
        self._set_rate(rate / 3 if self._options.control else rate)
        _tell_calibration(calibration, self.record.plan.rate)
        self._forget_calibration()

    def _later(self, phase: Phase) -> list[Sample]:
        """A phase's samples without its first third, in which Locust starts and rates settle."""
        samples = [sample for sample in self._monitor.samples if sample.phase is phase]
        return samples[len(samples) // 3 :]

    def _measure(self) -> list[Usage]:
        first = len(self._monitor.usages)
        enough = SKIPPED_SCRAPES + self._options.scrapes
        self._monitor.wait(
            lambda _: len(self._monitor.usages) - first >= enough, SCRAPES_TIMEOUT_S,
            f"{enough} measurements by the metrics API",
        )  # fmt: skip
        return [usage for _, usage in self._monitor.usages[first + SKIPPED_SCRAPES :]]

    def _set_rate(self, rate: float) -> None:
        if rate > self._options.max_rate:
            raise CalibrationError(
                f"{rate:.0f} e-mails/s would be needed, above --max-rate {self._options.max_rate:g}"
            )
        self.record = replace(self.record, plan=replace(self.record.plan, rate=rate))

    def _forget_calibration(self) -> None:
        """What calibration sent must be through before the run counts from zero."""
        generator = self._monitor.generator
        wanted = len(generator.accepted) if generator else 0
        self._monitor.wait(
            lambda sample: sample.delivered >= wanted, self._options.drain_timeout_s, "calibration's mails"
        )
        self._monitor.generator = None
        self._monitor.deliveries.clear()

    def _baseline(self) -> None:
        self._monitor.enter(Phase.BASELINE)
        until = self._monitor.now + self._options.baseline_s
        self._monitor.wait(
            lambda sample: sample.t >= until, self._options.baseline_s + 30, "the baseline's end"
        )

    def _load(self) -> None:
        options, plan = self._options, self.record.plan
        most_s = options.peak_timeout_s + plan.hold_s + 120
        self._monitor.enter(Phase.LOAD)
        generator = self._generator("load", plan.rate, most_s)
        if not options.control:
            self._monitor.wait(
                lambda sample: sample.ready >= self._policy.maximum, options.peak_timeout_s,
                f"{self._policy.maximum} workers ready",
            )  # fmt: skip
        self._monitor.enter(Phase.HOLD)
        until = self._monitor.now + plan.hold_s + 1
        self._monitor.wait(lambda sample: sample.t >= until, plan.hold_s + 60, "the hold's end")
        self._monitor.enter(Phase.DRAIN)
        generator.stop()

    def _drain(self) -> None:
        self._monitor.wait(
            lambda sample: sample.outstanding == 0 and sample.queue_length == 0 and sample.in_flight == 0,
            self._options.drain_timeout_s, "the last deliveries",
        )  # fmt: skip

    def _cool(self) -> None:
        self._monitor.enter(Phase.COOL)
        minimum = self._policy.minimum
        self._monitor.wait(
            lambda sample: _is_calm(sample, minimum),
            self._cool_s(),
            f"back to {minimum} workers, none ending",
        )

    def _cool_s(self) -> float:
        slowest = max((step.period_s for step in self._policy.down), default=60)
        steps = self._policy.maximum.bit_length() + 1
        return self._policy.down_window_s + steps * (slowest + 15) + COOL_SLACK_S

    def _generator(self, name: str, rate: float, most_s: float) -> Generator:
        options = self._options
        directory = options.out / "locust" / name
        generator = Generator(
            directory, options.api_url, rate, tag=self._tag, domain=options.domain, most_s=most_s
        )  # fmt: skip
        self._generators.enter_context(generator)
        self._monitor.generator = generator
        generator.start()
        return generator

    def _conclude(self) -> None:
        monitor, generator = self._monitor, self._monitor.generator
        monitor.marks["end"] = monitor.now
        self.record = replace(
            self.record, samples=tuple(monitor.samples), marks=dict(monitor.marks),
            deliveries=tuple(monitor.deliveries), ledger_kept=monitor.ledger_kept,
            accepted=dict(generator.accepted) if generator else {},
            failed_requests=generator.failed if generator else 0,
            failures=dict(generator.failures) if generator else {},
            followed=generator.followed if generator else 0,
        )  # fmt: skip


def _is_calm(sample: Sample, minimum: int) -> bool:
    return sample.desired == sample.ready == sample.pods == minimum and sample.ending == 0


def _delivered_rate(samples: Sequence[Sample]) -> float:
    """Deliveries a second over the samples."""
    if len(samples) < 2:
        return 0.0
    return (samples[-1].delivered - samples[0].delivered) / (samples[-1].t - samples[0].t)


def _tell_calibration(calibration: Calibration, rate: float) -> None:
    machine = machine_percent_at(calibration, rate)
    print(
        f"\na mail costs {calibration.cpu_ms_per_mail:.2f} ms of worker CPU, an idle worker uses "
        f"{calibration.idle_m_per_pod:.1f}m: offering {rate:.1f} e-mails/s"
        + (f", this machine at about {machine:.0f} %" if machine is not None else "")
    )


@contextlib.contextmanager
def _terminated_as_interrupted() -> Generates[None]:
    """SIGTERM ends a run as SIGINT does: with the load stopped and the artefact written."""

    def interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def publish(directory: Path) -> bool:
    """Judge the record in a directory as it was written, write result and report, and say what came out."""
    record = records.read(directory)
    checks = judge(record)
    figures = result.summary(record, checks)
    result_path = result.write(figures, directory)
    report_path = report.write(record, figures, directory)
    print()
    for check in checks:
        print(f"  {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.detail}")
    print(f"{'PASSED' if figures['passed'] else 'FAILED'}: {report_path}, {result_path}")
    return bool(figures["passed"])


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 for a proof that holds, 1 for one that does not, 2 when nothing was loaded."""
    options = parse(arguments)
    try:
        cluster = Cluster(options.kubeconfig, options.context, options.namespace)
        policy = cluster.policy()
        probe = assure_harmless(
            options.api_url, options.mail_url, options.domain, named=options.allowed_domain
        )
    except (RefusedError, ConfigError, ApiError, httpx2.HTTPError, ValueError) as fault:
        print(f"not started: {fault}", file=sys.stderr)
        return REFUSED
    for name in (records.RECORD, result.RESULT, report.REPORT, report.CHART):
        (options.out / name).unlink(missing_ok=True)  # an earlier verdict must not pass for this run's
    with _terminated_as_interrupted():
        run = Run(options, cluster, policy, probe)
        try:
            run.carry_out()
        finally:
            records.write(run.record, options.out)
        return 0 if publish(options.out) else FAILED


if __name__ == "__main__":
    sys.exit(main())
