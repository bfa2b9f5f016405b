"""What `down` takes out of the machine, and what it leaves because it is somebody else's."""

import json
import socket
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from infra.local import firewall, network, pause, teardown, toolchain
from infra.local.failures import ComponentFailedError, tail
from infra.local.settings import Settings

OTHERS = """*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:CNI-aaaa - [0:0]
-A PREROUTING -j DOCKER
-A POSTROUTING -s 10.88.0.2/32 -m comment --comment "name: \\"podman\\" id: \\"1\\"" -j CNI-aaaa
COMMIT
"""
OURS = """*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
:CNI-aaaa - [0:0]
:CNI-bbbb - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j DOCKER
-A POSTROUTING -s 10.88.0.2/32 -m comment --comment "name: \\"podman\\" id: \\"1\\"" -j CNI-aaaa
-A POSTROUTING -s 10.244.0.2/32 -m comment --comment "name: \\"task-queue-pods\\" id: \\"2\\"" -j CNI-bbbb
-A KUBE-SERVICES -j KUBE-MARK-MASQ
COMMIT
*filter
:FORWARD ACCEPT [0:0]
:TASK-QUEUE - [0:0]
-A FORWARD -j TASK-QUEUE
-A TASK-QUEUE -i tq-pods0 -j ACCEPT
COMMIT
"""


def test_rules_of_others_are_left_alone() -> None:
    assert firewall.removal(OTHERS, "task-queue-pods") == ""
    assert "DOCKER" not in firewall.removal(OURS, "task-queue-pods")
    assert "CNI-aaaa" not in firewall.removal(OURS, "task-queue-pods")


def test_every_chain_of_the_cluster_goes_with_the_rules_that_lead_to_it() -> None:
    lines = firewall.removal(OURS, "task-queue-pods").splitlines()
    chains = {"KUBE-SERVICES", "KUBE-MARK-MASQ", "CNI-bbbb", "TASK-QUEUE"}
    assert {line.split()[1] for line in lines if line.startswith("-X")} == chains
    assert [line for line in lines if line.startswith("-D")] == [
        '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        "-D POSTROUTING -s 10.244.0.2/32 -m comment "
        '--comment "name: \\"task-queue-pods\\" id: \\"2\\"" -j CNI-bbbb',
        "-D FORWARD -j TASK-QUEUE",
    ]


def test_chains_are_emptied_before_any_is_removed() -> None:
    lines = firewall.removal(OURS, "task-queue-pods").splitlines()
    nat = lines[: lines.index("COMMIT")]
    assert nat.index(":KUBE-MARK-MASQ - [0:0]") < nat.index("-X KUBE-MARK-MASQ")


def test_nothing_to_remove_is_no_input() -> None:
    assert firewall.removal("", "task-queue-pods") == ""


def test_pods_are_let_through_by_one_chain_that_down_knows() -> None:
    rules = firewall.allow_rules(Settings())
    assert f":{firewall.CHAIN} " in rules
    assert all(firewall.CHAIN in line for line in rules.splitlines() if line.startswith("-"))


def test_mounts_are_undone_from_the_deepest() -> None:
    info = (
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        "2 1 0:5 / /state/kubelet/pods/a rw - tmpfs tmpfs rw\n"
        "3 2 0:6 / /state/kubelet/pods/a/volumes/b\\040c rw - tmpfs tmpfs rw\n"
        "4 1 0:7 / /state-of-another rw - tmpfs tmpfs rw\n"
    )
    assert teardown.mount_points(info, Path("/state")) == [
        Path("/state/kubelet/pods/a/volumes/b c"),
        Path("/state/kubelet/pods/a"),
    ]


def test_control_groups_of_pods_are_found_in_either_layout(tmp_path: Path) -> None:
    old, unified = tmp_path / "old", tmp_path / "unified"
    for name in ("cpu/kubepods/burstable", "memory/kubepods", "cpu/user/kubepods"):
        (old / name).mkdir(parents=True)
    for name in ("kubepods.slice/pod", "another-machine/kubepods"):
        (unified / name).mkdir(parents=True)
    (unified / "cgroup.controllers").touch()
    found = {str(each.relative_to(tmp_path)) for root in (old, unified) for each in teardown.pod_groups(root)}
    assert found == {"old/cpu/kubepods", "old/memory/kubepods", "unified/kubepods.slice"}


def test_control_groups_of_pods_are_removed_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "cpu/kubepods/burstable").mkdir(parents=True)
    (tmp_path / "cpu/user").mkdir()
    teardown.remove_groups(tmp_path)
    assert teardown.pod_groups(tmp_path) == []
    assert (tmp_path / "cpu/user").is_dir()


def test_settings_of_the_kernel_are_put_back(tmp_path: Path) -> None:
    for name in network.NEEDED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("0\n")
    for name in network.AT_LEAST:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("128\n")
    before = network.read_sysctls(tmp_path)
    network.set_sysctls(tmp_path)
    assert network.read_sysctls(tmp_path) != before
    network.restore_sysctls(before, tmp_path)
    assert network.read_sysctls(tmp_path) == before


def test_a_limit_that_is_high_enough_is_not_lowered(tmp_path: Path) -> None:
    for name in (*network.NEEDED, *network.AT_LEAST):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("8192\n")
    network.set_sysctls(tmp_path)
    assert (tmp_path / "fs/inotify/max_user_instances").read_text() == "8192\n"


def test_only_folders_without_files_are_removed(tmp_path: Path) -> None:
    gone, kept = tmp_path / "gone", tmp_path / "kept"
    (gone / "inner").mkdir(parents=True)
    (gone / "dead").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(gone / "s"))
    kept.mkdir()
    (kept / "data").touch()
    network.remove_empty(gone)
    network.remove_empty(kept)
    assert sorted(tmp_path.rglob("*")) == [kept, kept / "data"]


def test_the_pause_image_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"\x7fELF")
    archive = pause.archive(program, "localhost/pause:1")
    assert archive == pause.archive(program, "localhost/pause:1")
    with tarfile.open(fileobj=BytesIO(archive)) as bundle:
        file = bundle.extractfile("manifest.json")
        assert file is not None
        assert json.load(file)[0]["RepoTags"] == ["localhost/pause:1"]


@pytest.mark.parametrize(
    ("text", "version"),
    [("go1.26.8\n", ("go1.26.8", (1, 26, 8))), ("go version go1.27 linux/amd64", ("go1.27", (1, 27)))],
)
def test_versions_of_go_are_read(text: str, version: tuple[str, tuple[int, ...]]) -> None:
    assert toolchain.parse_version(text) == version


def test_something_else_is_not_taken_for_go() -> None:
    with pytest.raises(ValueError, match="go version"):
        toolchain.parse_version("gophers")


def test_a_failure_shows_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    log.write_text("".join(f"line {number}\n" for number in range(5000)))
    text = str(ComponentFailedError("etcd", "ended with exit status 1", log))
    assert "etcd ended with exit status 1" in text
    assert text.endswith("line 4999")
    assert "line 100\n" not in text


def test_a_log_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    assert "no log" in tail(tmp_path / "none.log")
