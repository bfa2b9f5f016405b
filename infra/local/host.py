"""What this machine is like, as far as the cluster's settings depend on it."""

import os
from dataclasses import dataclass
from pathlib import Path

CAP_SYS_RESOURCE = 24
OVERLAY_TYPES = frozenset({"overlay", "overlayfs", "aufs"})


@dataclass(frozen=True, kw_only=True)
class Host:
    """Properties of the machine that change the components' settings."""

    cgroup_version: int
    systemd: bool
    can_raise_oom_score: bool
    snapshotter: str
    resolv_conf: str
    has_nameserver: bool


def capability(status: str, number: int) -> bool:
    """Whether /proc/PID/status grants an effective capability."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def cgroup_version(root: Path = Path("/sys/fs/cgroup")) -> int:
    """2 for the unified hierarchy, 1 for the old one, 0 where there is none."""
    if (root / "cgroup.controllers").exists():
        return 2
    return 1 if (root / "cpu").is_dir() and (root / "memory").is_dir() else 0


def detect(state: Path) -> Host:
    """Look at the machine; `state` is where images and containers will be kept."""
    # systemd-resolved's stub answers on a loopback address, which a pod cannot reach.
    resolved = Path("/run/systemd/resolve/resolv.conf")
    resolv_conf = resolved if resolved.exists() else Path("/etc/resolv.conf")
    lines = resolv_conf.read_text().splitlines() if resolv_conf.exists() else []
    return Host(
        cgroup_version=cgroup_version(),
        systemd=Path("/run/systemd/system").is_dir(),
        can_raise_oom_score=capability(Path("/proc/self/status").read_text(), CAP_SYS_RESOURCE),
        # overlayfs cannot be stacked on itself (a state folder inside a container).
        snapshotter="native" if filesystem(state) in OVERLAY_TYPES else "overlayfs",
        resolv_conf=str(resolv_conf),
        has_nameserver=any(line.split()[:1] == ["nameserver"] for line in lines),
    )


def filesystem(path: Path, mounts: str | None = None) -> str:
    """The type of the file system that a path is on; `mounts` is the text of /proc/self/mounts."""
    rows = [line.split()[1:3] for line in (mounts or Path("/proc/self/mounts").read_text()).splitlines()]
    # The longest mount point that holds the path; of two on one point, the later hides the earlier.
    holding = [(len(Path(point).parts), kind) for point, kind in reversed(rows) if path.is_relative_to(point)]
    return max(holding, key=lambda pair: pair[0], default=(0, ""))[1]


def boot_id() -> str:
    """Changes when the machine is started again."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def tool_path(path: str | None = None) -> str:
    """PATH with the folders of system programs, which a user's PATH may lack."""
    present = (os.environ.get("PATH", "") if path is None else path).split(os.pathsep)
    return os.pathsep.join([*present, *(p for p in ("/usr/sbin", "/sbin", "/usr/bin") if p not in present)])
