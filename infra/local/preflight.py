"""Check the machine before anything is changed, and name all that is in the way at once."""

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from infra.local import packages, processes
from infra.local.host import cgroup_version
from infra.local.listeners import Listener, listeners
from infra.local.paths import STATE_VARIABLE, Paths
from infra.local.settings import Settings

SOCKET_PATH_MAX = 104  # containerd refuses longer ones, for the sake of other systems
NODE_PROGRAMS = frozenset({"kubelet", "k3s", "k3s-server", "k0s", "rke2", "microk8s"})
UP = "python -m infra.local up"


@dataclass(frozen=True)
class Problem:
    """One thing in the way, and the command (or step) that mends it."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"  - {self.what}\n      {self.mend}"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was found on the machine. Sizes in MiB and GiB; `foreign_nodes` and `busy` name processes."""

    system: str
    machine: str
    is_root: bool
    has_sudo: bool
    missing_packages: tuple[str, ...]
    has_apt: bool
    free_gib: float
    memory_mib: int
    cgroup_version: int
    has_bridge_filter: bool
    foreign_nodes: tuple[str, ...]
    other_states: tuple[Path, ...]
    busy: tuple[Listener, ...]
    routes: tuple[tuple[IPv4Network, str], ...]
    socket: Path


def gather(settings: Settings, paths: Paths) -> Facts:
    """Look at the machine; nothing is changed."""
    own = processes.find()
    return Facts(
        system=platform.system(),
        machine=platform.machine(),
        is_root=os.geteuid() == 0,
        has_sudo=shutil.which("sudo") is not None,
        missing_packages=tuple(packages.missing_packages()),
        has_apt=shutil.which("apt-get") is not None,
        free_gib=min(_free_gib(paths.state), _free_gib(paths.cache)),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        cgroup_version=cgroup_version(),
        has_bridge_filter=Path("/proc/sys/net/bridge").is_dir() or shutil.which("modprobe") is not None,
        foreign_nodes=tuple(_foreign_nodes({process.pid for process in own})),
        other_states=tuple({process.state for process in own} - {paths.state}),
        busy=tuple(_busy(settings, own)),
        routes=tuple(_routes(Path("/proc/net/route").read_text())),
        socket=paths.containerd_socket.with_suffix(".sock.ttrpc"),  # the longest of all
    )


def _free_gib(path: Path) -> float:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free / 2**30


def _foreign_nodes(own: set[int]) -> Iterable[str]:
    """Node agents in this machine's own network: another cluster's rules and ours would mix."""
    here = Path("/proc/self/ns/net").readlink()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) in own:
            continue
        try:
            name = (folder / "comm").read_text().strip()
            if name in NODE_PROGRAMS and (folder / "ns/net").readlink() == here:
                yield f"{name} (pid {folder.name})"
        except OSError:
            continue


def _busy(settings: Settings, own: Iterable[processes.Process]) -> Iterable[Listener]:
    ports = {port for group in settings.ports.by_component().values() for port in group}
    mine = {process.pid for process in own}
    addresses = {"0.0.0.0", "127.0.0.1", settings.network.node_ip, "::", "::1"}  # noqa: S104 - compared
    for listener in listeners():
        if listener.port in ports and listener.address in addresses and listener.pid not in mine:
            yield listener


def _routes(table: str) -> Iterable[tuple[IPv4Network, str]]:
    """(network, device) of each route but the default ones, from /proc/net/route."""
    for line in table.splitlines()[1:]:
        device, destination, *_, mask = line.split()[:8]
        network, netmask = (int.from_bytes(bytes.fromhex(text)[::-1]) for text in (destination, mask))
        if netmask:
            yield IPv4Network((network, netmask.bit_count())), device


def problems(facts: Facts, settings: Settings, *, may_install: bool = True) -> list[Problem]:
    """Everything in the way, in the order in which a person would mend it."""
    return [
        *_system(facts),
        *_rights(facts),
        *_programs(facts, may_install=may_install),
        *_resources(facts, settings),
        *_others(facts),
        *_network(facts, settings),
    ]


def _system(facts: Facts) -> Iterable[Problem]:
    other = "use another cluster instead: set KUBECONFIG or CONTEXT (kind, minikube, k3d, a cloud's)"
    if facts.system != "Linux" or facts.machine not in ("x86_64", "aarch64"):
        yield Problem(
            f"the embedded cluster needs Linux on x86-64 or arm64, not {facts.system} {facts.machine}", other
        )
    if facts.cgroup_version == 0:
        yield Problem("no control groups are mounted under /sys/fs/cgroup", other)
    if not facts.has_bridge_filter:
        yield Problem("the kernel has no bridge netfilter", f"modprobe br_netfilter, or {other}")
    if len(str(facts.socket)) > SOCKET_PATH_MAX:
        yield Problem(
            f"the path of the socket {facts.socket} is longer than {SOCKET_PATH_MAX} characters",
            f"{STATE_VARIABLE}=/var/lib/task-queue-cluster {UP}",
        )


def _rights(facts: Facts) -> Iterable[Problem]:
    if not facts.is_root and not facts.has_sudo:
        yield Problem(
            "it needs root (containers, network devices), and there is no sudo",
            f"su -c '{sys.executable} -m {UP[10:]}'",
        )


def _programs(facts: Facts, *, may_install: bool) -> Iterable[Problem]:
    missing = list(facts.missing_packages)
    if missing and not (may_install and facts.has_apt):
        yield Problem(
            f"programs of these Debian packages are missing: {', '.join(missing)}",
            packages.install_command(missing)
            if facts.has_apt
            else f"install them (names are Debian's), then {UP}",
        )


def _resources(facts: Facts, settings: Settings) -> Iterable[Problem]:
    if facts.free_gib < settings.min_free_gib:
        yield Problem(
            f"{facts.free_gib:.1f} GiB of disk are free, {settings.min_free_gib} are needed",
            "free some: go clean -cache; apt-get clean; buildah prune --all",
        )
    if facts.memory_mib < settings.min_memory_mib:
        yield Problem(
            f"the machine has {facts.memory_mib} MiB of memory, {settings.min_memory_mib} are needed",
            "use a larger machine, or a cluster elsewhere by KUBECONFIG",
        )


def _others(facts: Facts) -> Iterable[Problem]:
    for state in facts.other_states:
        yield Problem(
            f"another embedded cluster runs, with its state in {state}",
            f"use it, or end it: {STATE_VARIABLE}={state} python -m infra.local down",
        )
    if facts.foreign_nodes:
        yield Problem(
            f"another Kubernetes node runs on this machine: {', '.join(facts.foreign_nodes)}",
            "use that cluster (set KUBECONFIG), or stop it: systemctl stop kubelet (or k3s, ...)",
        )


def _network(facts: Facts, settings: Settings) -> Iterable[Problem]:
    for listener in facts.busy:
        mend = f"kill {listener.pid}" if listener.pid else f"ss -ltnp 'sport = :{listener.port}'"
        yield Problem(
            f"port {listener.port} ({_user_of(listener.port, settings)}) is taken on {listener.address} "
            f"by {listener.program or 'a program'}" + (f" (pid {listener.pid})" if listener.pid else ""),
            f"stop it: {mend}",
        )
    own_devices = (settings.network.node_bridge, settings.network.pod_bridge)
    for wanted in settings.network.ranges():
        for network, device in facts.routes:
            # A wider route (a VPN's 10.0.0.0/8) is fine: ours is the more specific one.
            if (
                device not in own_devices
                and network.overlaps(wanted)
                and network.prefixlen >= wanted.prefixlen
            ):
                yield Problem(
                    f"a route to {network} by {device} is in the cluster's range {wanted}",
                    f"remove it: ip route del {network} dev {device}",
                )


def _user_of(port: int, settings: Settings) -> str:
    return next(name for name, ports in settings.ports.by_component().items() if port in ports)
