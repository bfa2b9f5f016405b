"""Find, start and stop the cluster's processes, by what is written in their environment.

There are no pid files to go stale: each process carries the state folder it belongs to, its component
and a hash of what it was started with. A process is (pid, start time); signals go through a pidfd
whose start time was compared, so that a pid used again by another program is never signalled.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STATE_MARK = "TASK_QUEUE_CLUSTER"
COMPONENT_MARK = "TASK_QUEUE_COMPONENT"
SPEC_MARK = "TASK_QUEUE_SPEC"
SHIM = "containerd-shim"
PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Process:
    """A running process of a cluster. `started_ticks` is field 22 of /proc/PID/stat."""

    pid: int
    started_ticks: int
    component: str
    state: Path
    spec: str


def started_ticks(stat: str) -> int:
    """The start time in /proc/PID/stat, whose second field may itself hold spaces and brackets."""
    return int(stat.rpartition(")")[2].split()[19])


def parse_environment(block: bytes) -> dict[str, str]:
    """/proc/PID/environ as a mapping; entries without '=' are dropped."""
    entries = (entry.partition("=") for entry in block.decode(errors="replace").split("\0"))
    return {name: value for name, equals, value in entries if equals}


def find(state: Path | None = None, proc: Path = PROC) -> list[Process]:
    """The processes of the cluster in `state`, or of every embedded cluster on the machine.

    Needs root to see those that root started. What runs in another network namespace is another
    machine's. A shim inherits containerd's environment; it is told apart by its program.
    """
    network = (proc / "self" / "ns" / "net").readlink()
    folders = [folder for folder in proc.iterdir() if folder.name.isdigit()]
    found = [process for folder in folders if (process := _read(folder, network))]
    return [process for process in found if state in (None, process.state)]


def _read(folder: Path, network: Path) -> Process | None:
    try:
        environment = parse_environment((folder / "environ").read_bytes())
        if STATE_MARK not in environment or (folder / "ns" / "net").readlink() != network:
            return None
        program = (folder / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        ticks = started_ticks((folder / "stat").read_text())
    except (OSError, ValueError, IndexError):
        return None  # gone meanwhile, or not ours to read
    component = environment.get(COMPONENT_MARK, "?")
    if Path(program).name.startswith(SHIM):
        component = SHIM
    return Process(
        pid=int(folder.name),
        started_ticks=ticks,
        component=component,
        state=Path(environment[STATE_MARK]),
        spec=environment.get(SPEC_MARK, ""),
    )


def send(pid: int, ticks: int, number: signal.Signals) -> bool:
    """Signal a process if it is still the one that started at `ticks`. Returns whether it was."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # The handle pins the process: if the start time read now is the expected one, it is that one.
        if started_ticks((PROC / str(pid) / "stat").read_text()) != ticks:
            return False
        signal.pidfd_send_signal(handle, number)
    except (OSError, ValueError, IndexError):
        return False
    finally:
        os.close(handle)
    return True


def is_alive(pid: int, ticks: int) -> bool:
    """Whether that very process runs (a zombie does not)."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
        return started_ticks(stat) == ticks and stat.rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, ValueError, IndexError):
        return False


def stop(targets: Iterable[tuple[int, int]], grace_s: float) -> None:
    """SIGTERM to every (pid, start time), then SIGKILL to those left after `grace_s`; waits for their end."""
    left = [(pid, ticks) for pid, ticks in targets if send(pid, ticks, signal.SIGTERM)]
    left = _wait(left, grace_s)
    for pid, ticks in left:
        send(pid, ticks, signal.SIGKILL)
    _wait(left, 5.0)


def _wait(targets: Sequence[tuple[int, int]], within_s: float) -> list[tuple[int, int]]:
    """Wait until all have ended, or the time is over; returns those that still run."""
    handles: dict[int, tuple[int, int]] = {}
    poller = select.poll()
    for pid, ticks in targets:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        handles[handle] = (pid, ticks)
        poller.register(handle, select.POLLIN)
    deadline_s = time.monotonic() + within_s
    ended: set[int] = set()
    try:
        while len(ended) < len(handles) and (left_s := deadline_s - time.monotonic()) > 0:
            for handle, _ in poller.poll(left_s * 1000):
                poller.unregister(handle)
                ended.add(handle)
    finally:
        for handle in handles:
            os.close(handle)
    return [target for handle, target in handles.items() if handle not in ended and is_alive(*target)]


def start(
    argv: Sequence[str], *, component: str, state: Path, spec: str, env: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start a component in a session of its own, so that it outlives this program and its terminal."""
    marks = {STATE_MARK: str(state), COMPONENT_MARK: component, SPEC_MARK: spec}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own argument lists
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**env, **marks},
            start_new_session=True,
        )
