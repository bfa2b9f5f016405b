"""Bring the cluster up, take it down, and say how it is."""

import fcntl
import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.local import builds, firewall, host, network, packages, preflight, processes, teardown, toolchain
from infra.local.components import described
from infra.local.failures import ClusterError
from infra.local.health import ApiServer, answers
from infra.local.paths import Paths, from_environment, make, sudo_user
from infra.local.progress import say, step
from infra.local.settings import Settings
from infra.local.startup import METRICS_API, Startup

# One cluster a machine: its addresses and rules are fixed. The lock is the machine's, too.
LOCK = Path("/run/task-queue-cluster.lock")


def state_dir() -> Path:
    """The folder that holds the cluster's state, whether it exists or not."""
    return from_environment().state


def kubeconfig_path() -> Path:
    """Where `up` writes the kubeconfig."""
    return from_environment().kubeconfig


def is_running() -> bool:
    """Whether the API server of the embedded cluster answers."""
    paths = from_environment()
    if not paths.kubeconfig.exists():
        return False
    return answers(f"{Settings().api_url}/readyz")


@contextmanager
def locked() -> Generator[None]:
    """Hold the machine's lock on `up` and `down`, waiting for another that runs."""
    while True:
        with LOCK.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("  another up or down is running on this machine: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            # The file is removed at the end: who waited for the one that is gone takes the new one.
            if not LOCK.exists() or LOCK.stat().st_ino != os.fstat(file.fileno()).st_ino:
                continue
            try:
                yield
            finally:
                if not processes.find():
                    LOCK.unlink()
            return


def up(settings: Settings, paths: Paths, *, may_install: bool) -> None:
    """Bring the cluster up, or what is missing of it. ClusterError says what is in the way."""
    with locked():
        check(settings, paths, may_install=may_install)
        for folder in (paths.state, paths.cache):
            make(folder, sudo_user())
        for folder in ("config", "logs", "volumes", "registry", "volume-plugins"):
            (paths.state / folder).mkdir(parents=True, exist_ok=True)
        programs = builds.ensure(settings, paths, toolchain.ensure(paths))
        Startup(settings, paths, programs).run()


def check(settings: Settings, paths: Paths, *, may_install: bool) -> None:
    """Refuse with everything that is in the way; install what is missing if that is allowed."""
    found = preflight.problems(preflight.gather(settings, paths), settings, may_install=may_install)
    if found:
        raise ClusterError("the embedded cluster cannot start here:\n" + "\n".join(map(str, found)))
    if missing := packages.missing_packages():
        packages.install(missing)


def down(settings: Settings, paths: Paths, *, purge: bool) -> None:
    """End everything that `up` began; with `purge`, remove the state as well. Nothing there is no error."""
    with locked():
        with step("stop the components"):
            _stop_components(paths)
        with step("stop the containers"):
            teardown.stop_containers(paths.state, settings.stop_grace_s)
        teardown.unmount(paths.state)
        teardown.remove_groups(systemd=host.detect(paths.state).systemd)
        teardown.clear_runtime(paths.state, settings.network.name)
        firewall.remove(settings)
        network.down(settings, paths)
        if left := remains(settings, paths):
            raise ClusterError("down could not end:\n" + "\n".join(f"  - {line}" for line in left))
        if purge and paths.state.exists():
            shutil.rmtree(paths.state)


# The API server waits a minute for its watchers; what counts is in etcd, which survives a SIGKILL.
COMPONENT_GRACE_S = 3.0
# Those that make or serve containers go first: nothing may be started while the rest is cleared.
_FIRST = ("kubelet", "kube-controller-manager", "kube-scheduler", "containerd")


def _stop_components(paths: Paths) -> None:
    found = [each for each in processes.find(paths.state) if each.component != processes.SHIM]
    first = [(each.pid, each.started_ticks) for each in found if each.component in _FIRST]
    processes.stop(first, COMPONENT_GRACE_S)
    processes.stop([(each.pid, each.started_ticks) for each in found], COMPONENT_GRACE_S)


def remains(settings: Settings, paths: Paths) -> list[str]:
    """What `down` should have ended or removed and is still there, one line each; empty when all is gone."""
    mounted = teardown.mount_points(Path("/proc/self/mountinfo").read_text(), paths.state)
    bridges = (settings.network.node_bridge, settings.network.pod_bridge)
    return [
        *(f"process {each.component} (pid {each.pid})" for each in processes.find(paths.state)),
        *(f"shim (pid {pid})" for pid, _ in teardown.shims(paths.state)),
        *(f"container process (pid {pid})" for pid, _ in teardown.container_processes()),
        *(f"mount {point}" for point in mounted),
        *(f"control group {group}" for group in teardown.pod_groups()),
        *(f"network device {name}" for name in bridges if network.link_exists(name)),
        *(f"iptables {line}" for line in firewall.remaining(settings)),
    ]


@dataclass(frozen=True, kw_only=True)
class ComponentStatus:
    """How one component is: `pid` is 0 when it does not run."""

    name: str
    pid: int
    healthy: bool


@dataclass(frozen=True, kw_only=True)
class Status:
    """How the cluster is. `running` means that all components are healthy and the node is Ready."""

    state: str
    kubeconfig: str
    kubectl: str
    registry: str
    api: str
    node_ready: bool
    metrics_available: bool
    components: tuple[ComponentStatus, ...]

    @property
    def running(self) -> bool:
        return self.node_ready and all(each.healthy for each in self.components)

    @property
    def stopped(self) -> bool:
        return not any(each.pid for each in self.components)

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {**asdict(self), "running": self.running, "stopped": self.stopped}


def status(settings: Settings, paths: Paths) -> Status:
    """Look at every component; takes no lock and changes nothing."""
    pids = {each.component: each.pid for each in processes.find(paths.state)}
    api = ApiServer(settings, paths)
    is_up = "kube-apiserver" in pids
    return Status(
        state=str(paths.state),
        kubeconfig=str(paths.kubeconfig),
        kubectl=str(paths.bin / "kubectl"),
        registry=settings.registry,
        api=settings.api_url,
        node_ready=is_up and api.has_condition(f"/api/v1/nodes/{settings.node_name}", "Ready"),
        metrics_available=is_up and api.has_condition(METRICS_API, "Available"),
        components=tuple(_component_statuses(settings, paths, pids)),
    )


def _component_statuses(settings: Settings, paths: Paths, pids: dict[str, int]) -> Iterator[ComponentStatus]:
    for name, component in described(settings, paths).items():
        pid = pids.get(name, 0)
        healthy = pid != 0 and (not component.health or answers(component.health))
        yield ComponentStatus(name=name, pid=pid, healthy=healthy)
