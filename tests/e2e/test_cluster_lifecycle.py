"""The embedded cluster from the first `up` to the last `down`, killed and interrupted on the way.

It runs in namespaces of its own (network, mounts, processes, control groups), where no other cluster is
to be seen: a stack from `make up` may go on running beside it, and nothing that fails here is left over.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.local import baseimages, builds, toolchain
from infra.local.paths import from_environment
from infra.local.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CGROUPS = Path("/sys/fs/cgroup")
REDIS = "docker.io/library/redis:8"
CACHE = from_environment().cache
KUBECTL = CACHE / "bin" / "kubectl"
# A machine that runs other tests meanwhile is slow.
UP_S, POD_S = 180, 120

# Inside the new namespaces: the machine's own view of the network and of control groups, and private
# copies of the places outside the state folder that programs of the cluster write to.
ENTER = """
set -e
ip link set lo up
# Pods and image builds of the outside come and go: their mounts are not ours to hold or to see.
cut -d' ' -f5 /proc/self/mountinfo | grep -e "^$2/" -e '^/var/lib/containers/' | sort -r | xargs -r umount -l
names=$(cut -d: -f2 /proc/self/cgroup | grep -v '^$' || true)
umount -R /sys
mount -t sysfs sysfs /sys
if [ -n "$names" ]; then
  mount -t tmpfs tmpfs /sys/fs/cgroup
  for name in $names; do
    mkdir -p /sys/fs/cgroup/${name#name=}
    mount -t cgroup -o $name cgroup /sys/fs/cgroup/${name#name=}
  done
else
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mount -t tmpfs tmpfs /run
for parent in /var/lib /var/log /opt; do
  mkdir -p "$1$parent/upper" "$1$parent/work"
  mount -t overlay overlay -o lowerdir=$parent,upperdir=$1$parent/upper,workdir=$1$parent/work $parent
done
rm -rf /var/lib/cni /var/lib/kubelet /var/log/containers /opt/containerd
echo ready
exec sleep infinity
"""

# What `down` has to leave as it was, printed line by line.
SNAPSHOT = """
for family in iptables ip6tables; do $family-save | grep -v '^[#:*]' | grep -v COMMIT; done
iptables-save | grep '^:' | grep -v '\\[[0-9]*:[0-9]*\\]$' ; iptables-save | grep -c '^:[A-Z-]* -' || true
ip -brief link; ip -brief address; ip route; ip rule
cut -d' ' -f5 /proc/self/mountinfo | sort
find /sys/fs/cgroup -type d | sort
find /run /var/lib/cni /var/lib/kubelet /var/log/containers /opt/containerd 2>/dev/null | sort
sysctl -e net.ipv4.ip_forward net.ipv4.conf.all.route_localnet net.bridge.bridge-nf-call-iptables \
  fs.inotify.max_user_instances vm.overcommit_memory kernel.panic kernel.panic_on_oops
processes=$(ps -eo stat=,comm=)  # before any program of a pipe is there to be seen
echo "$processes" | grep -v '^Z' | awk '{print $2}' | grep -v -e '^ps$' -e '^sh$' | sort
"""


def _obstacle() -> str:
    if os.geteuid() != 0:
        return "needs root: it makes namespaces and mounts"
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        return "needs unshare and nsenter (apt-get install util-linux)"
    go = toolchain.on_path()
    if go is None or builds.missing(Settings(), from_environment(), go.version):
        return "the cluster's programs are not built yet (python -m infra.local up builds them)"
    return ""


pytestmark = [pytest.mark.skipif(bool(_obstacle()), reason=_obstacle()), pytest.mark.timeout(600)]


class Machine:
    """A machine of its own as far as a cluster can tell, with an empty state folder."""

    def __init__(self, init: int, folder: Path) -> None:
        self._init, self._folder = init, folder
        self.state = folder / "state"

    def command(self, *argv: str) -> list[str]:
        enter = ["nsenter", f"--target={self._init}", "--cgroup", "--net", "--mount", "--pid", f"--wd={ROOT}"]
        env = [
            f"TASK_QUEUE_STATE={self.state}",
            f"TASK_QUEUE_CACHE={CACHE}",
            f"KUBECONFIG={self.state}/kubeconfig",
        ]
        return [*enter, "env", *env, *argv]

    def run(self, *argv: str, within_s: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*argv), capture_output=True, text=True, timeout=within_s, check=False
        )

    def cluster(self, *arguments: str, within_s: float = UP_S) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "infra.local", *arguments, within_s=within_s)

    def up(self) -> str:
        done = self.cluster("up", "--no-install")
        assert done.returncode == 0, done.stderr
        return done.stderr

    def down(self, *arguments: str) -> None:
        done = self.cluster("down", *arguments)
        assert done.returncode == 0, done.stderr

    def status(self) -> dict[str, Any]:
        return json.loads(self.cluster("status", "--json").stdout)

    def pids(self) -> dict[str, int]:
        return {each["name"]: each["pid"] for each in self.status()["components"]}

    def snapshot(self) -> list[str]:
        return self.run("sh", "-c", SNAPSHOT).stdout.splitlines()

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            self.command(str(KUBECTL), *arguments),
            input=stdin, capture_output=True, text=True, timeout=POD_S + 10, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def load_image(self, archive: Path) -> None:
        socket = self.state / "containerd/state/containerd.sock"
        done = self.run(
            "ctr", "--address", str(socket), "--namespace", "k8s.io", "images", "import", str(archive)
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def machine(folder: Path) -> Generator[Machine]:
    """New namespaces around a process whose end is the end of everything in them."""
    with ExitStack() as stack:
        script = f'{_join_new_groups(stack)}exec unshare --cgroup --net --mount --pid --fork --mount-proc ' \
            '--propagation private --kill-child sh -c "$0" sh "$1" "$2"'  # fmt: skip
        holder = subprocess.Popen(
            ["sh", "-c", script, ENTER, str(folder), str(from_environment().state)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        stack.callback(holder.wait, 30)
        stack.callback(holder.kill)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        yield Machine(int(children[0]), folder)


def _join_new_groups(stack: ExitStack) -> str:
    """Make control groups for the machine; shell lines by which its first process enters them."""
    name = f"cluster-test-{uuid.uuid4().hex[:8]}"
    lines: list[str] = []
    for hierarchy in [CGROUPS] if (CGROUPS / "cgroup.procs").exists() else sorted(CGROUPS.iterdir()):
        if not (hierarchy / "cgroup.procs").exists() or hierarchy.name == "unified":
            continue
        group = hierarchy / name
        group.mkdir()
        stack.callback(_remove_group, group)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # the old hierarchy starts with none
            if (group / setting).exists() and not (group / setting).read_text().strip():
                (group / setting).write_text((hierarchy / setting).read_text())
        lines.append(f"echo $$ > {group}/cgroup.procs\n")
    return "".join(lines)


def _remove_group(group: Path) -> None:
    def removed() -> bool:
        for folder, _, _ in os.walk(group, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:
                return False  # the last processes are still ending
        return True

    _until(removed, 30)


def _until(condition: Callable[[], bool], within_s: float) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s} s"
        time.sleep(0.05)


@contextmanager
def short_folder() -> Generator[Path]:
    """Not pytest's own: the path of a socket may have about a hundred characters."""
    folder = Path(tempfile.mkdtemp(prefix="tq-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def fresh() -> Iterator[Machine]:
    with short_folder() as folder, machine(folder) as made:
        yield made


@pytest.fixture(scope="module")
def redis_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    baseimages.ensure(["redis"])
    archive = tmp_path_factory.mktemp("images") / "redis.tar"
    subprocess.run(
        ["buildah", "push", "--quiet", REDIS, f"docker-archive:{archive}:{REDIS}"],
        check=True,
        capture_output=True,
    )
    return archive


@pytest.fixture(scope="module")
def running(redis_archive: Path) -> Iterator[Machine]:
    """A machine whose cluster runs Redis with a claim behind a NodePort, as a user without rights."""
    with short_folder() as folder, machine(folder) as made:
        made.up()
        made.load_image(redis_archive)
        deploy_redis(made)
        yield made


NODE_PORT = 30379


def deploy_redis(on: Machine) -> None:
    on.kubectl(
        "apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": _redis()})
    )
    on.kubectl("rollout", "status", "statefulset/redis", f"--timeout={POD_S}s")


def _redis() -> list[dict[str, Any]]:
    labels = {"app": "redis"}
    container = {
        "name": "redis",
        "image": REDIS,
        "args": ["redis-server", "--protected-mode", "no", "--appendonly", "yes", "--appendfsync", "always"],
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "fsGroup": 999},
        "containers": [container],
    }
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "50Mi"}}}
    stateful_set = {
        "serviceName": "redis",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
    }
    service = {"type": "NodePort", "selector": labels, "ports": [{"port": 6379, "nodePort": NODE_PORT}]}
    return [
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "redis"}, "spec": stateful_set},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "redis"}, "spec": service},
    ]


def in_redis(on: Machine, *command: str) -> str:
    return on.kubectl("exec", "redis-0", "--", *command).strip()


# --- what a running cluster offers


def test_a_node_port_answers_on_loopback_only(running: Machine) -> None:
    def answer(address: str) -> str:
        done = running.run("timeout", "2", "redis-cli", "-h", address, "-p", str(NODE_PORT), "ping")
        return done.stdout.strip()

    _until(lambda: answer("127.0.0.1") == "PONG", 30)
    assert answer(Settings().network.node_ip) != "PONG"


def test_pods_find_services_by_name(running: Machine) -> None:
    def answers(name: str) -> bool:
        on_redis = ("exec", "redis-0", "--", "redis-cli", "-h", name, "ping")
        return running.run(str(KUBECTL), *on_redis).stdout.strip() == "PONG"

    # A pod is ready a moment before DNS and kube-proxy know its Service's new endpoint.
    for name in ("redis", "redis.default.svc.cluster.local"):
        _until(partial(answers, name), 30)
    found = in_redis(running, "getent", "hosts", "kube-dns.kube-system.svc.cluster.local")
    assert found.split()[0] == Settings().network.dns_ip


def test_the_api_server_listens_on_the_nodes_own_address_only(running: Machine) -> None:
    listening = running.run("ss", "-ltnH").stdout.splitlines()
    addresses = {line.split()[3].rpartition(":")[0] for line in listening}
    assert addresses <= {"127.0.0.1", Settings().network.node_ip}


def test_the_registry_is_advertised_where_tools_look(running: Machine) -> None:
    advertised = running.kubectl(
        "get", "configmap", "local-registry-hosting", "--namespace=kube-public",
        "--output=jsonpath={.data.localRegistryHosting\\.v1}",
    )  # fmt: skip
    assert json.loads(advertised)["host"] == Settings().registry


def test_metrics_of_pods_are_measured(running: Machine) -> None:
    def measured() -> bool:
        return "redis-0" in running.run(str(KUBECTL), "top", "pod").stdout

    _until(measured, 90)


def test_a_claim_that_is_deleted_takes_its_data_with_it(running: Machine) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "short"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "short"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "pause", "image": Settings().pause_image, "imagePullPolicy": "Never"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "short"}}],
        },
    }
    before = set((running.state / "volumes").iterdir())
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": [claim, pod]})
    running.kubectl("apply", "--filename=-", stdin=manifest)
    running.kubectl("wait", "pod/short", "--for=condition=Ready", f"--timeout={POD_S}s")
    assert len(set((running.state / "volumes").iterdir()) - before) == 1
    running.kubectl("delete", "pod/short", "pvc/short", "--wait")
    _until(lambda: set((running.state / "volumes").iterdir()) == before, 60)


def test_a_second_up_changes_nothing_and_takes_a_moment(running: Machine) -> None:
    before = running.pids()
    started_s = time.monotonic()
    running.up()
    assert time.monotonic() - started_s < 5
    assert running.pids() == before


def test_up_starts_again_what_was_killed(running: Machine) -> None:
    before = running.pids()
    running.run("kill", "-KILL", str(before["kube-scheduler"]))
    _until(lambda: running.pids()["kube-scheduler"] == 0, 10)
    assert running.cluster("status").returncode == 4
    running.up()
    after = running.pids()
    assert after.pop("kube-scheduler") not in (0, before.pop("kube-scheduler"))
    assert after == before


# --- up and down


def test_down_leaves_the_machine_as_it_was_found(fresh: Machine, redis_archive: Path) -> None:
    before = fresh.snapshot()
    fresh.up()
    fresh.load_image(redis_archive)
    deploy_redis(fresh)
    assert fresh.snapshot() != before
    fresh.down("--purge")
    assert fresh.snapshot() == before
    assert not fresh.state.exists()
    assert fresh.cluster("status").returncode == 3


def test_objects_and_volumes_outlive_a_down(fresh: Machine, redis_archive: Path) -> None:
    fresh.up()
    fresh.load_image(redis_archive)
    deploy_redis(fresh)
    in_redis(fresh, "redis-cli", "set", "kept", "yes")
    fresh.down()
    fresh.up()

    def answers() -> bool:
        address = ("-h", "127.0.0.1", "-p", str(NODE_PORT))
        done = fresh.run("timeout", "2", "redis-cli", *address, "get", "kept")
        return done.stdout.strip() == "yes"

    _until(answers, POD_S)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_up_that_was_ended_in_the_middle_can_be_run_again(fresh: Machine, number: signal.Signals) -> None:
    before = fresh.snapshot()
    with subprocess.Popen(
        fresh.command(sys.executable, "-m", "infra.local", "up"), stderr=subprocess.DEVNULL
    ) as ended:
        _until(lambda: bool(fresh.run("pgrep", "-x", "etcd").stdout), 30)
        fresh.run("pkill", f"-{number.name.removeprefix('SIG')}", "-f", "^[^ ]*python[^ ]* -m infra.local up")
        ended.wait(30)
    fresh.up()
    running = fresh.run("ps", "-eo", "comm").stdout.split()
    assert running.count("etcd") == running.count("containerd") == running.count("kubelet") == 1
    assert fresh.status()["running"]
    fresh.down("--purge")
    assert fresh.snapshot() == before


def test_two_ups_at_once_make_one_cluster(fresh: Machine) -> None:
    command = fresh.command(sys.executable, "-m", "infra.local", "up")
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for each in both:
        _, said = each.communicate(timeout=UP_S)
        assert each.returncode == 0, said
    running = fresh.run("ps", "-eo", "comm").stdout.split()
    assert running.count("etcd") == running.count("containerd") == running.count("kubelet") == 1


def test_up_names_what_holds_its_ports_before_it_changes_anything(fresh: Machine) -> None:
    server = (
        "import socket,time;s=socket.create_server(('127.0.0.1',{}));print('on',flush=True);time.sleep(600)"
    )
    ports = (Settings().ports.registry, Settings().ports.etcd)
    holders = [
        subprocess.Popen(fresh.command(sys.executable, "-c", server.format(port)), stdout=subprocess.PIPE)
        for port in ports
    ]
    try:
        for holder in holders:
            assert holder.stdout is not None
            holder.stdout.readline()
        before = fresh.snapshot()
        done = fresh.cluster("up")
        assert done.returncode == 1
        for port in ports:
            assert f"port {port}" in done.stderr
        assert fresh.snapshot() == before
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def test_a_component_that_fails_shows_the_end_of_its_log(fresh: Machine) -> None:
    (fresh.state / "etcd").mkdir(parents=True)
    (fresh.state / "etcd" / "member").write_text("not a folder")
    done = fresh.cluster("up")
    assert done.returncode == 1
    assert "etcd" in done.stderr
    assert "member" in done.stderr
