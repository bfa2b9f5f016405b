"""End what the processes of the cluster leave behind: containers, mounts, control groups.

It asks nobody: neither containerd nor the API server need to be alive, so that a cluster that was
killed half-way is cleared like any other.
"""

import contextlib
import ctypes
import os
import re
import shutil
from pathlib import Path

from infra.local import processes
from infra.local.commands import attempt
from infra.local.processes import PROC

CGROUPS = Path("/sys/fs/cgroup")
CNI_RESULTS = Path("/var/lib/cni/results")
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
_LIBC = ctypes.CDLL(None, use_errno=True)


def pod_groups(root: Path = CGROUPS) -> list[Path]:
    """The control groups that hold the pods, in every hierarchy."""
    unified = (root / "cgroup.controllers").exists()
    hierarchies = [root] if unified else [path for path in root.iterdir() if path.is_dir()]
    found = [path / name for path in hierarchies for name in ("kubepods", "kubepods.slice")]
    return [path for path in found if path.is_dir()]


def container_processes(root: Path = CGROUPS) -> list[tuple[int, int]]:
    """(pid, start time) of each process inside a pod."""
    pids: set[int] = set()
    for group in pod_groups(root):
        for listing in group.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                pids.update(int(line) for line in listing.read_text().split())
    found: list[tuple[int, int]] = []
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            found.append((pid, processes.started_ticks((PROC / str(pid) / "stat").read_text())))
    return found


def stop_containers(state: Path, grace_s: float) -> None:
    """Stop every container of the cluster, then the shims that watched them."""
    processes.stop(container_processes(), grace_s)
    processes.stop(shims(state), 0)


def shims(state: Path, proc: Path = PROC) -> list[tuple[int, int]]:
    """(pid, start time) of the containerd shims that serve the containerd of this state folder."""
    socket = str(state / "containerd" / "state" / "containerd.sock").encode()
    found: list[tuple[int, int]] = []
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            if Path(arguments[0].decode()).name.startswith(processes.SHIM) and socket in arguments:
                found.append((int(folder.name), processes.started_ticks((folder / "stat").read_text())))
    return found


def mount_points(mountinfo: str, folder: Path) -> list[Path]:
    """The mount points in or under a folder, deepest first, from the text of /proc/self/mountinfo."""
    points = [Path(_unescape(line.split()[4])) for line in mountinfo.splitlines()]
    inside = [point for point in points if point == folder or folder in point.parents]
    return sorted(inside, key=lambda point: len(point.parts), reverse=True)


def _unescape(field: str) -> str:
    """Octal escapes of mountinfo, such as \\040 for a space."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field)


def unmount(folder: Path) -> None:
    """Unmount everything under a folder; a busy mount is detached and ends with its last user."""
    for point in mount_points(Path("/proc/self/mountinfo").read_text(), folder):
        _LIBC.umount2(os.fsencode(point), MNT_DETACH | UMOUNT_NOFOLLOW)


def remove_groups(root: Path = CGROUPS, *, systemd: bool = False) -> None:
    """Remove the pods' control groups; those with a process in them stay."""
    if systemd:
        attempt("systemctl", "stop", "kubepods.slice")
    for group in pod_groups(root):
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def clear_runtime(state: Path, network: str) -> None:
    """Remove what only running containers gave a meaning to; images and volumes stay.

    Only after `unmount`: what was mounted must not be removed through its mount point.
    """
    if mount_points(Path("/proc/self/mountinfo").read_text(), state):
        return
    for name in ("containerd/state", "containerd/runc", "kubelet/pods", "pod-logs", "cni"):
        shutil.rmtree(state / name, ignore_errors=True)
    # The plugins' record of each pod's addresses lies at a fixed place.
    for path in CNI_RESULTS.glob(f"{network}-*"):
        container = path.name.removeprefix(f"{network}-").rpartition("-")[0]
        for each in (path, CNI_RESULTS / f"cni-loopback-{container}-lo"):
            each.unlink(missing_ok=True)
