"""The bench itself, at its smallest: real Redis, worker, API and load; its figures are not judged."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.bench import result
from loadtest.bench.catalogue import OWN

ROOT = Path(__file__).resolve().parents[2]
SMALLEST = ["--quick", "--peers", "blpop", "--servers", "bare", "--scale", "0.02"]


def bench(*words: str, out: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "loadtest.bench", *words, "--out", str(out)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.timeout(120)
def test_a_run_leaves_figures_ratios_table_and_charts(tmp_path: Path) -> None:
    process = bench(*SMALLEST, "--only", "worker,enqueue,api,latency", out=tmp_path)
    shown, told = process.communicate(timeout=110)
    assert process.returncode == 0, told
    found = result.read(tmp_path)
    assert set(found.figures) == {"worker", "enqueue", "api", "latency"}
    assert set(found.figures["worker"]) == {OWN, "BLPOP loop"}
    for rounds in found.figures.values():
        for rows in rounds.values():
            assert len(rows) == 1
            assert all(value >= 0 for value in rows[0].values())
    assert set(found.ratios) == {
        "worker_to_best_crash_safe_peer", "worker_to_best_with_results", "api_to_bare_aiohttp",
        "api_to_aiohttp_pipeline", "api_to_fastapi_arq", "api_to_flask",
    }  # fmt: skip
    ratio = found.ratios["api_to_bare_aiohttp"]
    assert ratio is not None
    assert 0 < ratio.min <= ratio.value <= ratio.max
    assert found.ratios["worker_to_best_crash_safe_peer"] is None  # the loop loses what it holds
    assert (tmp_path / "table.md").read_text().rstrip() == shown.rstrip()
    assert (tmp_path / "worker-per_s.png").stat().st_size > 1_000


@pytest.mark.timeout(60)
def test_an_interruption_leaves_no_process(tmp_path: Path) -> None:
    process = bench("--only", "worker", "--peers", "", "--scale", "0.02", "--rounds", "99", out=tmp_path)
    assert process.stderr is not None
    while "this queue" not in (line := process.stderr.readline()):
        assert line, "it ended before its first figure"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in told
    left = subprocess.run(["ps", "--no-headers", "-o", "pid", "--ppid", str(process.pid)], check=False)
    assert left.returncode == 1
