"""The command line, checked before anything is started."""

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loadtest.chaos import fates, schedule
from loadtest.chaos.processes import ROOT
from loadtest.chaos.record import Kind

POLICIES = ("always", "everysec")
WHAT = ("all", "run", "power-loss")
NEEDED = {"redis-server": "redis-server", "strace": "strace"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the run is told. `faults`: how many of each kind; `mail_percent`: fates of the mail server."""

    what: str
    tasks: int
    rate: float
    seed: int
    appendfsync: tuple[str, ...]
    workers: int
    apis: int
    concurrency: int
    lease_s: float
    renew_s: float
    services: Path
    faults: Mapping[Kind, int]
    mail_percent: dict[str, float]
    mail_failing_attempts: int
    limit_s: float
    power_losses: int
    out: Path

    @property
    def load_s(self) -> float:
        """How long the load takes if nothing holds it up."""
        return self.tasks / self.rate


def parse(arguments: list[str] | None = None) -> Options:
    """Options from the command line; ends the process with status 2 and a message when they are wrong."""
    parser = _parser()
    given = parser.parse_args(arguments)
    for name in ("tasks", "rate", "workers", "apis", "concurrency", "limit_s", "power_losses"):
        if getattr(given, name) <= 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0")
    if given.renew_s * 2 > given.lease_s:
        parser.error("--renew-s must be at most half of --lease-s")
    if not (given.services / "taskqueue").is_dir():
        parser.error(f"--services {given.services} holds no taskqueue")
    needed = NEEDED if given.what != "run" else {"redis-server": "redis-server"}
    missing = [package for program, package in needed.items() if shutil.which(program) is None]
    if missing:
        parser.error(f"not installed: {', '.join(missing)} (apt-get install {' '.join(missing)})")
    drawn = schedule.counts(given.tasks / given.rate)
    return Options(
        what=given.what, tasks=given.tasks, rate=given.rate, seed=given.seed,
        appendfsync=tuple(given.appendfsync or POLICIES), workers=given.workers, apis=given.apis,
        concurrency=given.concurrency, lease_s=given.lease_s, renew_s=given.renew_s,
        services=given.services.resolve(), limit_s=given.limit_s,
        power_losses=given.power_losses, out=given.out.resolve(),
        faults=drawn if given.faults is None else given.faults,
        mail_percent=fates.DEFAULT_PERCENT if given.mail is None else given.mail,
        mail_failing_attempts=given.mail_failing_attempts,
    )  # fmt: skip


def _faults(text: str) -> dict[Kind, int]:
    return {Kind(name): int(number) for name, number in _pairs(text)}


def _mail(text: str) -> dict[str, float]:
    chosen = {name: float(number) for name, number in _pairs(text)}
    if unknown := chosen.keys() - fates.DEFAULT_PERCENT.keys():
        raise ValueError(f"no such fate: {', '.join(unknown)}")
    return chosen


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = [part.partition("=") for part in text.split(",") if part and part != "none"]
    return [(name, number) for name, _, number in pairs]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.chaos",
        description="E-mail tasks through real API, worker and Redis processes to a mail server that fails "
        "at random, while processes are killed, frozen and cut off. Shows that nothing accepted is lost, and "
        "nothing delivered twice without a fault as its cause. Exit status: 0 shown, 1 not shown, 2 usage.",
    )
    add = parser.add_argument
    add("what", nargs="?", choices=WHAT, default="all", help="default: the run and the loss of power")
    add("--tasks", type=int, default=20_000, help="e-mails (default: %(default)s)")
    add("--rate", type=float, default=250.0, help="e-mails/s (default: %(default)s)")
    add("--seed", type=int, default=1, help="draws the faults and the mail server's (default: %(default)s)")
    add("--appendfsync", action="append", choices=POLICIES, help="a run for each (default: always, everysec)")
    add("--workers", type=int, default=4, help="processes (default: %(default)s)")
    add("--apis", type=int, default=2, help="processes (default: %(default)s)")
    add("--concurrency", type=int, default=10, help="tasks a worker runs at a time (default: %(default)s)")
    add("--lease-s", type=float, default=10.0, help="LEASE_S of the workers (default: %(default)s)")
    add("--renew-s", type=float, default=3.0, help="RENEW_S of the workers (default: %(default)s)")
    add(
        "--services",
        type=Path,
        default=ROOT / "services",
        help="folder with the code that is put to the test",
    )
    add(
        "--faults", type=_faults, metavar="KIND=N,...",
        help=f"instead of those for this length of load: {', '.join(Kind)}, or none",
    )  # fmt: skip
    add(
        "--mail", type=_mail, metavar="FATE=PERCENT,...",
        help=f"how the mail server fails, or none (default: {_written(fates.DEFAULT_PERCENT)})",
    )  # fmt: skip
    add(
        "--mail-failing-attempts", type=int, default=fates.FAILING_ATTEMPTS,
        help="after so many it takes a mail (default: %(default)s)",
    )  # fmt: skip
    add("--limit-s", type=float, default=270.0, help="longest time for one run (default: %(default)s)")
    add("--power-losses", type=int, default=3, help="how often the power is lost (default: %(default)s)")
    add("--out", type=Path, default=ROOT / "build" / "chaos", help="results and logs (default: build/chaos)")
    return parser


def _written(percent: Mapping[str, float]) -> str:
    return ",".join(f"{name}={number:g}" for name, number in percent.items())
