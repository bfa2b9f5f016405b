"""CPU time of processes, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
TICK_S = 1 / _TICKS_PER_S
"""The resolution of all times here."""


def _stat(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()


def tree(pid: int) -> list[int]:
    """The process and all below it that live."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents.setdefault(int(_stat(int(folder.name))[1]), []).append(int(folder.name))
            except (OSError, ValueError):
                continue  # it ended meanwhile
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def seconds(pid: int) -> float:
    """User and system time of a process and all below it, in seconds; ended ones as their parents know."""
    total = 0
    for one in tree(pid):
        try:
            fields = _stat(one)
        except OSError:
            continue
        total += sum(int(fields[i]) for i in (11, 12, 13, 14))
    return total / _TICKS_PER_S


def core_busy_s(core: int) -> float:
    """How long a core was busy since the machine's start, whoever kept it so, in seconds."""
    for line in Path("/proc/stat").read_text().splitlines():
        words = line.split()
        if words[0] == f"cpu{core}":
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, words[1:9])
            return (user + nice + system + irq + softirq + steal) / _TICKS_PER_S
    raise ValueError(f"/proc/stat knows no core {core}")


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU time so far: of the measured process, of Redis, and all that ran on the measured core."""

    process_s: float
    redis_s: float
    core_s: float


@dataclass(frozen=True, slots=True)
class Shares:
    """Between two samples, as shares of one core. `others`: what else ran on the measured core."""

    process: float
    redis: float
    others: float


def sample(pid: int, redis_pid: int, core: int) -> Sample:
    return Sample(seconds(pid), seconds(redis_pid), core_busy_s(core))


def shares(before: Sample, after: Sample, took_s: float) -> Shares:
    """`others` makes a figure doubtful: something else had the core that was to be the process' own."""
    process = (after.process_s - before.process_s) / took_s
    busy = (after.core_s - before.core_s) / took_s
    return Shares(process, (after.redis_s - before.redis_s) / took_s, max(0.0, busy - process))
