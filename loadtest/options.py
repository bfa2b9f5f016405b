"""The command line of the proof, checked before anything is touched."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadtest.settings import RESERVED_DOMAIN

ROOT = Path(__file__).parent.parent
PEAK_LIMIT_S = 90.0
"""The bar: from the load's start to all replicas ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the run is told; seconds are wall-clock."""

    kubeconfig: Path | None
    context: str | None
    namespace: str
    api_url: str
    mail_url: str
    out: Path
    rate: float | None
    calibration_rate: float
    max_rate: float
    baseline_s: float
    hold_s: float | None
    peak_limit_s: float
    peak_timeout_s: float
    drain_timeout_s: float
    settle_timeout_s: float | None
    scrapes: int
    """Measurements by the metrics API that a mean is taken of, 10 to 15 s each."""
    control: bool
    domain: str
    allowed_domain: str | None


def parse(arguments: list[str] | None = None) -> Options:
    """Options from the command line; ends the process with a message when they are wrong."""
    parser = _parser()
    given = parser.parse_args(arguments)
    short = bool(given.short)
    for name in ("api_url", "mail_url"):
        if urlsplit(str(getattr(given, name))).scheme not in ("http", "https"):
            parser.error(f"--{name.replace('_', '-')} must be an http(s) URL")
    for name in ("rate", "calibration_rate", "max_rate", "hold_s", "peak_limit_s", "drain_timeout_s"):
        value = getattr(given, name)
        if value is not None and value <= 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0")
    if given.context and not given.kubeconfig and not os.environ.get("KUBECONFIG"):
        given.kubeconfig = None  # the user's own ~/.kube/config, as kubectl does
    return Options(
        kubeconfig=given.kubeconfig, context=given.context, namespace=given.namespace, api_url=given.api_url,
        mail_url=given.mail_url,
        out=given.out or ROOT / "build" / ("load-control" if given.control else "load"),
        rate=given.rate, calibration_rate=given.calibration_rate, max_rate=given.max_rate,
        baseline_s=given.baseline_s if given.baseline_s is not None else (5.0 if short else 30.0),
        hold_s=given.hold_s if given.hold_s is not None else (120.0 if given.control else None),
        peak_limit_s=given.peak_limit_s, peak_timeout_s=max(2 * given.peak_limit_s, given.peak_timeout_s),
        drain_timeout_s=given.drain_timeout_s, settle_timeout_s=given.settle_timeout_s,
        scrapes=2 if short else 4, control=given.control,
        domain=given.allowed_domain or RESERVED_DOMAIN, allowed_domain=given.allowed_domain,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.autoscale",
        description="Proves that the workers scale from their minimum to their maximum and back under real "
        "e-mail load, with nothing lost or doubled. Writes result.json, report.html and chart.png.",
    )
    add = parser.add_argument
    add_target(parser)
    add("--out", type=Path, help="where the results go (default: build/load)")
    add("--rate", type=float, help="e-mails/s; default: calibrated from the measured CPU of a mail")
    add(
        "--calibration-rate",
        type=float,
        default=8.0,
        help="e-mails/s to measure a mail's cost by (default: 8)",
    )
    add("--max-rate", type=float, default=400.0, help="refuse to offer more e-mails/s (default: 400)")
    add("--baseline-s", type=float, help="seconds at the minimum before the load (default: 30)")
    add("--hold-s", type=float, help="seconds at the maximum (default: the scale-down window and 30 more)")
    add("--peak-limit-s", type=float, default=PEAK_LIMIT_S, help="bar from load to maximum (default: 90)")
    add("--peak-timeout-s", type=float, default=180.0, help="give up on the maximum (default: 180)")
    add("--drain-timeout-s", type=float, default=120.0, help="give up on the last deliveries (default: 120)")
    add("--settle-timeout-s", type=float, help="give up on the minimum (default: from the policy)")
    add("--short", action="store_true", help="a 5 s baseline and a quicker calibration, for tests")
    add("--control", action="store_true", help="a third of the rate, which must stay below the maximum")
    add(
        "--i-know-this-sends-real-mail-to", dest="allowed_domain", metavar="DOMAIN",
        help="load a target that does not deliver to the test mail server; recipients are at DOMAIN",
    )  # fmt: skip
    return parser


def add_target(parser: argparse.ArgumentParser) -> None:
    """The options that name a cluster, and where its API and its mail server answer."""
    add = parser.add_argument
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "task-queue-cluster"
    local = Path(os.environ.get("TASK_QUEUE_STATE") or state) / "kubeconfig"
    env = os.environ.get("KUBECONFIG")
    elsewhere = env or os.environ.get("CONTEXT")
    default = Path(env) if env else (None if elsewhere or not local.exists() else local)
    add("--kubeconfig", type=Path, default=default, help="default: KUBECONFIG, else the embedded cluster's")
    add("--context", default=os.environ.get("CONTEXT"), help="default: CONTEXT, else the current one")
    add("--namespace", default="task-queue")
    add("--api-url", default="http://127.0.0.1:30500", help="the task API (default: %(default)s)")
    add(
        "--mail-url",
        default="http://127.0.0.1:30825",
        help="the mail server's HTTP side (default: %(default)s)",
    )
