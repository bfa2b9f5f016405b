"""What the components are started with."""

import datetime
import json
import os
import stat
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from infra.local import addons, builds, certificates, components, configuration, startup
from infra.local.host import Host, capability, filesystem
from infra.local.paths import Paths, from_environment, make, sudo_user
from infra.local.settings import Network, Settings

SETTINGS = Settings()
PATHS = Paths(state=Path("/state"), cache=Path("/cache"))
OLD = Host(
    cgroup_version=1,
    systemd=False,
    can_raise_oom_score=False,
    snapshotter="overlayfs",
    resolv_conf="/etc/resolv.conf",
    has_nameserver=True,
)
NEW = replace(OLD, cgroup_version=2, systemd=True, can_raise_oom_score=True)
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def kubelet(host: Host) -> dict[str, Any]:
    return json.loads(configuration.kubelet(SETTINGS, PATHS, host))


def cri(host: Host) -> dict[str, Any]:
    return tomllib.loads(configuration.containerd(SETTINGS, PATHS, host))["plugins"][
        "io.containerd.grpc.v1.cri"
    ]


def test_the_old_control_groups_are_accepted_only_where_they_are() -> None:
    assert kubelet(OLD)["failCgroupV1"] is False
    assert "failCgroupV1" not in kubelet(NEW)


def test_kubelet_and_containerd_agree_on_who_owns_the_control_groups() -> None:
    def systemd(host: Host) -> bool:
        return cri(host)["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"]

    assert kubelet(OLD)["cgroupDriver"] == "cgroupfs"
    assert systemd(OLD) is False
    assert kubelet(NEW)["cgroupDriver"] == "systemd"
    assert systemd(NEW) is True


def test_a_machine_that_may_not_raise_scores_is_not_asked_to() -> None:
    assert cri(OLD)["restrict_oom_score_adj"] is True
    assert kubelet(OLD)["oomScoreAdj"] == 0
    assert cri(NEW)["restrict_oom_score_adj"] is False


def test_a_nearly_full_disk_evicts_nothing() -> None:
    assert kubelet(OLD)["imageGCHighThresholdPercent"] > kubelet(OLD)["imageGCLowThresholdPercent"] >= 98
    assert kubelet(OLD)["evictionHard"]["nodefs.available"] == "1%"


def test_node_ports_answer_on_loopback_only() -> None:
    assert json.loads(configuration.kube_proxy(SETTINGS, PATHS))["nodePortAddresses"] == ["127.0.0.0/8"]


def test_names_from_outside_are_forwarded_only_where_there_is_a_name_server() -> None:
    assert "forward . /etc/resolv.conf" in configuration.corefile(SETTINGS, PATHS, OLD)
    assert "forward" not in configuration.corefile(SETTINGS, PATHS, replace(OLD, has_nameserver=False))


def test_every_file_stays_inside_the_state_folder() -> None:
    rendered = configuration.files(SETTINGS, PATHS, OLD)
    assert all(not name.startswith("/") and ".." not in name for name in rendered)


def test_a_changed_file_changes_the_spec_of_those_that_read_it_and_of_no_other() -> None:
    known = components.described(SETTINGS, PATHS)
    before, after = (configuration.files(SETTINGS, PATHS, host) for host in (OLD, NEW))
    changed = {name for name, each in known.items() if each.spec(before, "a") != each.spec(after, "a")}
    assert changed == {"containerd", "kubelet"}


def test_new_certificates_restart_everything() -> None:
    texts = configuration.files(SETTINGS, PATHS, OLD)
    for each in components.described(SETTINGS, PATHS).values():
        assert each.spec(texts, "a") != each.spec(texts, "b")


def test_every_component_has_its_ports_in_the_table() -> None:
    without_ports = {"containerd", "volumes"}
    assert set(components.described(SETTINGS, PATHS)) - without_ports == set(SETTINGS.ports.by_component())


def test_no_two_components_share_a_port_and_the_apis_is_free() -> None:
    ports = [port for group in SETTINGS.ports.by_component().values() for port in group]
    assert len(ports) == len(set(ports))
    assert 5000 not in ports


def test_certificates_are_made_once_private_and_signed_by_the_authority(tmp_path: Path) -> None:
    first = certificates.ensure(tmp_path / "pki", SETTINGS, NOW)
    assert certificates.ensure(tmp_path / "pki", SETTINGS, NOW) == first
    authority = x509.load_pem_x509_certificate((tmp_path / "pki/ca.crt").read_bytes())
    server = x509.load_pem_x509_certificate((tmp_path / "pki/apiserver.crt").read_bytes())
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert SETTINGS.network.node_ip in {str(each) for each in names.get_values_for_type(x509.IPAddress)}
    for path in (tmp_path / "pki").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("later_days", [365 * 5 - 10, 365 * 6])
def test_certificates_about_to_expire_are_made_again_but_tokens_stay_valid(
    tmp_path: Path, later_days: int
) -> None:
    first = certificates.ensure(tmp_path, SETTINGS, NOW)
    key = (tmp_path / "service-account.key").read_bytes()
    assert certificates.ensure(tmp_path, SETTINGS, NOW + datetime.timedelta(days=later_days)) != first
    assert (tmp_path / "service-account.key").read_bytes() == key


def test_changed_addresses_make_new_certificates(tmp_path: Path) -> None:
    first = certificates.ensure(tmp_path, SETTINGS, NOW)
    other = replace(SETTINGS, network=replace(Network(), node_ip="10.244.255.2"))
    assert certificates.ensure(tmp_path, other, NOW) != first


def test_certificates_interrupted_half_way_are_made_again(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, SETTINGS, NOW)
    (tmp_path / "identities.json").unlink()
    (tmp_path / "etcd.crt").unlink()
    certificates.ensure(tmp_path, SETTINGS, NOW)
    assert (tmp_path / "etcd.crt").exists()


def test_the_kubeconfig_needs_no_other_file(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, SETTINGS, NOW)
    text = configuration.kubeconfig(SETTINGS, tmp_path, "admin", embed=True)
    assert json.loads(text)["current-context"] == "task-queue-local"
    assert str(tmp_path) not in text


def test_the_registry_is_advertised_as_kep_1755_says() -> None:
    (advertised,) = [
        each
        for each in addons.objects(SETTINGS, b"pem")
        if each["metadata"]["name"] == "local-registry-hosting"  # type: ignore[index]
    ]
    assert advertised["metadata"] == {"name": "local-registry-hosting", "namespace": "kube-public"}
    hosting = json.loads(advertised["data"]["localRegistryHosting.v1"])  # type: ignore[index]
    assert hosting["host"] == hosting["hostFromContainerRuntime"] == "127.0.0.1:5001"


def test_files_that_did_not_change_are_not_written_again(tmp_path: Path) -> None:
    startup.write_files(tmp_path, {"a/b": "1", "c": "1"})
    before = (tmp_path / "c").stat().st_ino
    startup.write_files(tmp_path, {"a/b": "2", "c": "1"})
    assert (tmp_path / "a/b").read_text() == "2"
    assert (tmp_path / "c").stat().st_ino == before
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["a", "b", "c"]


def test_folders_come_from_the_environment_then_xdg_then_home() -> None:
    assert from_environment({"HOME": "/h"}).state == Path("/h/.local/state/task-queue-cluster")
    assert from_environment({"HOME": "/h", "XDG_STATE_HOME": "/s"}).state == Path("/s/task-queue-cluster")
    own = from_environment({"HOME": "/h", "XDG_CACHE_HOME": "/c", "TASK_QUEUE_STATE": "/mine"})
    assert (own.state, own.cache) == (Path("/mine"), Path("/c/task-queue-cluster"))


def test_folders_made_under_sudo_belong_to_the_user(tmp_path: Path) -> None:
    user = sudo_user({"SUDO_UID": str(os.getuid()), "SUDO_GID": str(os.getgid())})
    make(tmp_path / "a" / "b", user)
    assert (tmp_path / "a" / "b").stat().st_uid == os.getuid()
    make(tmp_path / "a" / "b", user)
    assert sudo_user({}) is None


def test_a_program_is_built_anew_when_anything_that_goes_in_changes(tmp_path: Path) -> None:
    (tmp_path / "m" / "p").mkdir(parents=True)
    for name in ("go.mod", "go.sum", "p/main.go"):
        (tmp_path / "m" / name).write_text("1")
    program = builds.Program(name="x", module="m", package="./p", expect="")
    keys = {builds.key(program, "go1", tmp_path), builds.key(program, "go2", tmp_path)}
    keys.add(builds.key(replace(program, ldflags="-s"), "go1", tmp_path))
    for name in ("go.mod", "go.sum", "p/main.go"):
        (tmp_path / "m" / name).write_text(f"2{name}")
        keys.add(builds.key(program, "go1", tmp_path))
    assert len(keys) == 6


def test_capabilities_are_read_from_the_process_status() -> None:
    assert capability("CapInh:\t0\nCapEff:\t0000000001000000\n", 24)
    assert not capability("CapEff:\t000001fffeffffff\n", 24)


def test_the_file_system_of_a_path_is_that_of_the_nearest_mount() -> None:
    mounts = "overlay / overlay rw 0 0\n/dev/a /var ext4 rw 0 0\ntmpfs /var/x tmpfs rw 0 0\n"
    assert filesystem(Path("/home/me"), mounts) == "overlay"
    assert filesystem(Path("/var/lib/not/yet"), mounts) == "ext4"
    assert filesystem(Path("/var/x/y"), mounts) == "tmpfs"
