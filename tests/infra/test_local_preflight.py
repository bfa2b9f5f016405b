"""The checks before `up` name everything in the way at once, each with what mends it."""

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from infra.local import packages, preflight
from infra.local.failures import ClusterError
from infra.local.listeners import Listener, parse_table
from infra.local.paths import Paths
from infra.local.settings import PACKAGES, Settings

SETTINGS = Settings()
GOOD = preflight.Facts(
    system="Linux",
    machine="x86_64",
    is_root=True,
    has_sudo=False,
    missing_packages=(),
    has_apt=True,
    free_gib=50,
    memory_mib=8000,
    cgroup_version=2,
    has_bridge_filter=True,
    foreign_nodes=(),
    other_states=(),
    busy=(),
    routes=((IPv4Network("192.168.1.0/24"), "eth0"),),
    socket=Path("/var/lib/x/containerd.sock.ttrpc"),
)


def test_a_machine_as_it_should_be_has_no_problem() -> None:
    assert preflight.problems(GOOD, SETTINGS) == []


@pytest.mark.parametrize(
    ("change", "what", "mend"),
    [
        ({"system": "Darwin"}, "Linux", "KUBECONFIG"),
        ({"is_root": False}, "root", "su -c"),
        ({"free_gib": 1.0}, "1.0 GiB", "go clean"),
        ({"memory_mib": 500}, "500 MiB", "larger machine"),
        ({"cgroup_version": 0}, "control groups", "KUBECONFIG"),
        ({"has_bridge_filter": False}, "bridge netfilter", "modprobe br_netfilter"),
        ({"foreign_nodes": ("kubelet (pid 7)",)}, "kubelet (pid 7)", "systemctl stop"),
        ({"other_states": (Path("/other"),)}, "/other", "TASK_QUEUE_STATE=/other python -m infra.local down"),
        ({"busy": (Listener("127.0.0.1", 5001, 9, "nginx"),)}, "port 5001 (registry)", "kill 9"),
        ({"busy": (Listener("0.0.0.0", 12379),)}, "port 12379 (etcd)", "ss -ltnp 'sport = :12379'"),
        (
            {"routes": ((IPv4Network("10.96.3.0/24"), "wg0"),)},
            "10.96.3.0/24",
            "ip route del 10.96.3.0/24 dev wg0",
        ),
        ({"socket": Path("/" + "x" * 110)}, "longer than", "TASK_QUEUE_STATE=/var/lib"),
    ],
)
def test_each_problem_comes_with_what_mends_it(change: dict[str, object], what: str, mend: str) -> None:
    (problem,) = preflight.problems(replace(GOOD, **change), SETTINGS)  # type: ignore[arg-type]
    assert what in problem.what
    assert mend in problem.mend


def test_all_problems_are_named_at_once() -> None:
    facts = replace(GOOD, is_root=False, free_gib=0.5, cgroup_version=0, busy=(Listener("::", 10250),))
    assert len(preflight.problems(facts, SETTINGS)) == 4


def test_sudo_stands_in_for_root() -> None:
    assert preflight.problems(replace(GOOD, is_root=False, has_sudo=True), SETTINGS) == []


def test_missing_packages_are_a_problem_only_if_they_may_not_be_installed() -> None:
    facts = replace(GOOD, missing_packages=("buildah", "runc"))
    assert preflight.problems(facts, SETTINGS) == []
    (problem,) = preflight.problems(facts, SETTINGS, may_install=False)
    assert problem.mend.endswith("apt-get install --no-install-recommends -y buildah runc")
    (problem,) = preflight.problems(replace(facts, has_apt=False), SETTINGS)
    assert "names are Debian's" in problem.mend


def test_a_wider_route_and_the_clusters_own_are_no_problem() -> None:
    routes = (
        (IPv4Network("10.0.0.0/8"), "vpn0"),
        (IPv4Network(SETTINGS.network.service_cidr), SETTINGS.network.node_bridge),
    )
    assert preflight.problems(replace(GOOD, routes=routes), SETTINGS) == []


def test_the_kernels_table_of_sockets_is_read() -> None:
    table = (
        "  sl  local_address rem_address   st tx rx tr tm retr uid timeout inode\n"
        "   0: 0100007F:1389 00000000:0000 0A 0:0 0:0 0 0 0 4711 1\n"
        "   1: 0100007F:1389 0100007F:9999 01 0:0 0:0 0 0 0 4712 1\n"
        "   2: 00000000000000000000000001000000:0050 0:0 0A 0:0 0:0 0 0 0 4713 1\n"
    )
    assert list(parse_table(table)) == [("127.0.0.1", 5001, "4711"), ("::1", 80, "4713")]


def test_this_machine_can_be_looked_at(tmp_path: Path) -> None:

    facts = preflight.gather(SETTINGS, Paths(state=tmp_path / "a" / "b", cache=tmp_path))
    assert facts.memory_mib > 0
    assert facts.free_gib > 0


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return tmp_path / "policy-rc.d"


def test_services_are_refused_only_while_packages_are_installed(policy: Path) -> None:
    with packages.services_held(policy):
        assert policy.read_text() == packages.REFUSE_ALL
        assert policy.stat().st_mode & 0o111
    assert not policy.exists()


def test_a_policy_of_the_machines_own_is_put_back_even_after_a_failure(policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(ClusterError), packages.services_held(policy):
        raise ClusterError("apt failed")
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert list(policy.parent.iterdir()) == [policy]


def test_what_a_killed_run_left_is_not_taken_for_the_machines_own_policy(policy: Path) -> None:
    policy.write_text(packages.REFUSE_ALL)
    policy.with_name("policy-rc.d.task-queue").write_text("#!/bin/sh\nexit 0\n")
    with packages.services_held(policy):
        pass
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_every_program_has_a_package() -> None:
    assert all(PACKAGES.values())
