"""Processes of the cluster are known by their environment, and a pid used again is never signalled."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.local import processes

SLEEP = (sys.executable, "-c", "import time; print('on', flush=True); time.sleep(600)")
DEAF = (
    sys.executable,
    "-c",
    "from signal import *; import time; signal(SIGTERM, SIG_IGN); print('on', flush=True); time.sleep(600)",
)
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a component and waits until it runs; whatever is left of them ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*argv: str, component: str = "sleeper") -> subprocess.Popen[bytes]:
        log = tmp_path / "logs" / f"{component}-{len(started)}.log"
        process = processes.start(
            argv, component=component, state=tmp_path, spec="spec", env=os.environ, log=log
        )
        started.append(process)
        while "on" not in log.read_text():
            assert process.poll() is None
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def ticks_of(pid: int) -> int:
    return processes.started_ticks(Path(f"/proc/{pid}/stat").read_text())


def test_the_start_time_is_read_past_a_name_with_spaces_and_brackets() -> None:
    stat = "12 (a ) b (c) S " + " ".join(str(number) for number in range(4, 53))
    assert processes.started_ticks(stat) == 22


def test_an_environment_without_equals_signs_is_empty() -> None:
    assert processes.parse_environment(b"") == {}
    assert processes.parse_environment(b"A=1\0rubbish\0B=x=y\0") == {"A": "1", "B": "x=y"}


def test_a_started_component_is_found_by_its_state_folder(start: Start, tmp_path: Path) -> None:
    process = start(*SLEEP, component="etcd")
    found = processes.find(tmp_path)
    assert [(each.pid, each.component, each.spec) for each in found] == [(process.pid, "etcd", "spec")]
    assert processes.find(tmp_path / "another") == []


def test_a_component_outlives_the_session_that_started_it(start: Start) -> None:
    process = start(*SLEEP)
    assert os.getsid(process.pid) == process.pid != os.getsid(0)


def test_a_pid_that_was_used_again_is_not_signalled(start: Start) -> None:
    process = start(*SLEEP)
    assert not processes.send(process.pid, ticks_of(process.pid) - 1, signal.SIGKILL)
    assert processes.is_alive(process.pid, ticks_of(process.pid))
    assert process.poll() is None


def test_a_pid_that_is_gone_is_not_an_error(start: Start) -> None:
    process = start(*SLEEP)
    ticks = ticks_of(process.pid)
    process.kill()
    process.wait()
    assert not processes.send(process.pid, ticks, signal.SIGTERM)
    assert not processes.is_alive(process.pid, ticks)
    processes.stop([(process.pid, ticks)], 1.0)


def test_stop_ends_those_that_listen_and_those_that_do_not(start: Start) -> None:
    both = [start(*SLEEP), start(*DEAF)]
    processes.stop([(each.pid, ticks_of(each.pid)) for each in both], 0.3)
    assert [each.wait() for each in both] == [-signal.SIGTERM, -signal.SIGKILL]


def test_a_shim_is_told_apart_from_the_containerd_whose_environment_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "42"
    folder.mkdir()
    (folder / "environ").write_bytes(
        f"{processes.STATE_MARK}=/s\0{processes.COMPONENT_MARK}=containerd\0".encode()
    )
    (folder / "cmdline").write_bytes(b"/usr/bin/containerd-shim-runc-v2\0-id\0x\0")
    (folder / "stat").write_text("42 (x) S " + " ".join(str(number) for number in range(4, 53)))
    networks = {"42": "net:[1]", "self": "net:[1]"}
    for name, network in networks.items():
        (tmp_path / name / "ns").mkdir(parents=True)
        (tmp_path / name / "ns" / "net").symlink_to(network)
    assert [each.component for each in processes.find(proc=tmp_path)] == [processes.SHIM]
    (tmp_path / "self" / "ns" / "net").unlink()
    (tmp_path / "self" / "ns" / "net").symlink_to("net:[2]")
    assert processes.find(proc=tmp_path) == []  # in another network: another machine's
