"""A short chaos: every kind of fault on real processes, and an account that comes out even."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.chaos.schedule import PERIOD_S
from tests.fixtures.processes import ROOT, Process, wait_until

LIMIT_S = 120
TASKS = 1200


def chaos(out: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, result.json and what was printed."""
    command = [sys.executable, "-m", "loadtest.chaos", *words, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    said = done.stdout + done.stderr
    result = out / "result.json"
    return done.returncode, json.loads(result.read_text()) if result.exists() else {}, said


@pytest.mark.timeout(LIMIT_S + 30)
def test_every_kind_of_fault_loses_nothing_and_doubles_nothing_without_a_cause(tmp_path: Path) -> None:
    status, result, said = chaos(
        tmp_path, "run", "--tasks", str(TASKS), "--rate", "90", "--lease-s", "3", "--renew-s", "1",
        "--appendfsync", "always",
    )  # fmt: skip
    assert (status, result["passed"]) == (0, True), said
    assert result["accepted"] == TASKS
    assert result["delivered"] + result["failed"] == TASKS
    assert (result["lost"], result["duplicated_unexplained"]) == (0, 0)
    assert result["faults"].keys() == set(PERIOD_S)
    assert 0 < result["recovery_s_max"] < 15
    mail = result["runs"]["always"]["mail_faults"]
    assert {"defer_rcpt", "defer_data", "drop_before", "drop_after", "taken stall"} <= mail.keys()


@pytest.mark.timeout(LIMIT_S + 30)
def test_a_loss_of_power_takes_a_second_or_two_with_everysec_and_nothing_with_always(tmp_path: Path) -> None:
    status, result, said = chaos(tmp_path, "power-loss", "--power-losses", "1")
    assert status == 0, said
    always, everysec = result["power_loss"]["always"], result["power_loss"]["everysec"]
    assert always["accepted"] > 0
    assert always["lost"] == 0
    assert everysec["lost"] > 0
    assert 0 < everysec["oldest_lost_s"] <= 2.5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--lease-s", "2", "--renew-s", "2"), "--renew-s must be at most half"),
        (("--faults", "meteor=1"), "invalid"),
        (("--mail", "lost_in_the_post=1"), "invalid"),
        (("--services", "/nowhere"), "holds no taskqueue"),
    ],
)
def test_wrong_options_are_told_before_anything_is_started(
    tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    status, _, said = chaos(tmp_path / "out", *words)
    assert status == 2
    assert reason in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_every_process_of_it(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "chaos"
    words = [sys.executable, "-m", "loadtest.chaos", "run", "--rate", "50", "--out", str(out)]
    process = Process(words, {}, tmp_path / "said.log")
    try:
        ledger = out / "always" / "ledger.jsonl"
        wait_until(lambda: ledger.exists() and b"250" in ledger.read_bytes(), 40, "mails flow")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 9, "Redis, proxy, mail server, two APIs, four workers"
        process.signal(number)
        assert process.wait(20) == 130
        assert not [child for child in children if Path(f"/proc/{child}").exists()]
        assert not (out / "result.json").exists()
    finally:
        process.end()
