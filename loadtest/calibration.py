"""How many e-mails a second need every replica: from the measured CPU of one mail, nothing guessed."""

from collections.abc import Sequence

from loadtest.cluster import Policy, Usage
from loadtest.record import Calibration, Sample

HEADROOM = 1.25
"""Asked for beyond the target of all replicas: at 9 of 10 the autoscaler tolerates 10 % before it adds the
last (Kubernetes' default tolerance), and the measurement itself wavers by several per cent."""
MACHINE_LIMIT_PERCENT = 85.0
"""Above it probes time out and leases lapse, and the run would show the machine's limits, not the queue's."""


class CalibrationError(Exception):
    """The measurement cannot be used."""


def mean_m(usages: Sequence[Usage]) -> float:
    """Milli-cores of all workers together, the mean over the scrapes."""
    if not usages:
        raise CalibrationError("the metrics API gave no measurement: is metrics-server running?")
    return sum(usage.total_m for usage in usages) / len(usages)


def calibrate(
    idle: Sequence[Usage],
    busy: Sequence[Usage],
    rate: float,
    machine: tuple[Sequence[Sample], Sequence[Sample]],
) -> Calibration:
    """The cost of a mail: what the workers use under a known rate, less what they use with nothing to do."""
    idle_m, busy_m = mean_m(idle), mean_m(busy)
    if rate <= 0 or busy_m <= idle_m:
        raise CalibrationError(
            f"{rate:.1f} e-mails/s cost nothing measurable ({idle_m:.0f}m idle, {busy_m:.0f}m busy): "
            "give a higher --calibration-rate, or the rate itself by --rate"
        )
    quiet, working = (_machine_percent(samples) for samples in machine)
    slope = max(0.0, working - quiet) / rate if quiet is not None and working is not None else None
    return Calibration(
        rate=rate, idle_m_per_pod=idle_m / max(1, len(idle[-1].by_pod_m)), busy_m=busy_m,
        cpu_ms_per_mail=(busy_m - idle_m) / rate,
        machine_idle_percent=quiet, machine_percent_per_mail_s=slope,
    )  # fmt: skip


def needed_rate(calibration: Calibration, policy: Policy, headroom: float = HEADROOM) -> float:
    """E-mails a second at which all replicas use `headroom` times what the autoscaler wants of them."""
    wanted_m = policy.maximum * (headroom * policy.target_m - calibration.idle_m_per_pod)
    if wanted_m <= 0:
        raise CalibrationError(
            f"an idle worker uses {calibration.idle_m_per_pod:.0f}m, which is above the autoscaler's target "
            f"of {policy.target_m:.0f}m: raise the workers' CPU request"
        )
    return wanted_m / calibration.cpu_ms_per_mail


def machine_percent_at(calibration: Calibration, rate: float) -> float | None:
    """What this machine will be busy with under a rate, by straight line; None when it was not measured."""
    idle, slope = calibration.machine_idle_percent, calibration.machine_percent_per_mail_s
    return None if idle is None or slope is None else idle + slope * rate


def _machine_percent(samples: Sequence[Sample]) -> float | None:
    known = [sample.machine_percent for sample in samples if sample.machine_percent is not None]
    return sum(known) / len(known) if known else None
