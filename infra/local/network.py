"""The node's bridge, route and kernel settings: made by `up`, put back by `down`."""

import contextlib
import json
import os
import shutil
import socket
from pathlib import Path
from types import MappingProxyType

from infra.local.commands import attempt, run
from infra.local.host import boot_id, tool_path
from infra.local.paths import Paths
from infra.local.settings import Settings

SYSCTLS = Path("/proc/sys")
# What the cluster needs of the kernel.
NEEDED = MappingProxyType(
    {
        "net/ipv4/ip_forward": "1",
        "net/bridge/bridge-nf-call-iptables": "1",  # Services between pods of one bridge
        "net/ipv4/conf/all/route_localnet": "1",  # NodePorts on loopback
    }
)
AT_LEAST = MappingProxyType({"fs/inotify/max_user_instances": 512})  # each container takes a few of 128
# What the kubelet and kube-proxy change by themselves.
CHANGED = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv6/conf/all/forwarding",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
)
# Folders that programs make at fixed places; `down` removes those that were not there before.
FIXED_FOLDERS = (
    "/run/containerd",
    "/run/containerd/s",
    "/var/log/containers",
    "/var/lib/cni",
    "/var/lib/cni/results",
    "/var/lib/kubelet",
    "/var/lib/kubelet/device-plugins",
    "/opt/containerd",
    "/opt/containerd/bin",
    "/opt/containerd/lib",
)


def read_sysctls(root: Path = SYSCTLS) -> dict[str, str]:
    """The present values of every setting that the cluster may change, where the kernel has it."""
    values: dict[str, str] = {}
    for name in (*NEEDED, *AT_LEAST, *CHANGED):
        with contextlib.suppress(OSError):
            values[name] = (root / name).read_text().strip()
    return values


def record(paths: Paths) -> None:
    """Write down what the machine is like, unless that was done since it started."""
    if paths.host_record.exists() and json.loads(paths.host_record.read_text())["boot_id"] == boot_id():
        return
    absent = [folder for folder in FIXED_FOLDERS if not Path(folder).exists()]
    value = {"boot_id": boot_id(), "sysctls": read_sysctls(), "absent_folders": absent}
    temporary = paths.host_record.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1))
    temporary.replace(paths.host_record)


def up(settings: Settings) -> None:
    """Make the bridge, the route and the settings; what is there already is left alone."""
    load_modules()
    net = settings.network
    if not link_exists(net.node_bridge):
        _ip("link", "add", net.node_bridge, "type", "bridge")
    _ip("address", "replace", f"{net.node_ip}/32", "dev", net.node_bridge)
    _ip("link", "set", net.node_bridge, "up")
    # Programs of the node reach Services: the rules of kube-proxy see only what has a route.
    _ip("route", "replace", net.service_cidr, "dev", net.node_bridge)
    set_sysctls()


def set_sysctls(root: Path = SYSCTLS) -> None:
    """Write the values that the cluster needs, where they differ."""
    for name, value in NEEDED.items():
        _write_sysctl(root / name, value)
    for name, least in AT_LEAST.items():
        if int((root / name).read_text()) < least:
            _write_sysctl(root / name, str(least))


def _write_sysctl(path: Path, value: str) -> None:
    if path.read_text().strip() != value:
        path.write_text(value)


def down(settings: Settings, paths: Paths) -> None:
    """Remove the bridges (and with them the routes) and put the kernel's settings back."""
    for bridge in (settings.network.pod_bridge, settings.network.node_bridge):
        if link_exists(bridge):
            _ip("link", "delete", bridge)
    if not paths.host_record.exists():
        return
    before = json.loads(paths.host_record.read_text())
    if before["boot_id"] == boot_id():
        restore_sysctls(before["sysctls"])
    for folder in before["absent_folders"]:
        remove_empty(Path(folder))
    paths.host_record.unlink()


def restore_sysctls(before: dict[str, str], root: Path = SYSCTLS) -> None:
    """Write back every setting that differs from before."""
    for name, value in before.items():
        with contextlib.suppress(OSError):
            _write_sysctl(root / name, value)


def remove_empty(folder: Path) -> None:
    """Remove a folder and the folders in it that hold no files; stale sockets and dead links go."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(parent) / name
            if path.is_socket() or (path.is_symlink() and not path.exists()):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            Path(parent).rmdir()


def link_exists(name: str) -> bool:
    """Whether the machine has a network device of this name."""
    return any(device == name for _, device in socket.if_nameindex())


def load_modules() -> None:
    """Load what the kernel does not have built in; one without modules has it or the checks say so."""
    if shutil.which("modprobe", path=tool_path()):
        attempt("modprobe", "--quiet", "--all", "br_netfilter", "overlay")


def _ip(*arguments: str) -> None:
    run("ip", *arguments)
