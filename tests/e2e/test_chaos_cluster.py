"""A short chaos on a real cluster: pods killed, an update rolled out, every e-mail accounted for."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.target import Target
from tests.e2e.conftest import SMALL
from tests.e2e.stacks import DEPLOY_S, ROOT, Stack, deployed

RUN_S = 600
TASKS = 2_400


@pytest.fixture(scope="module")
def stack(cluster: Target) -> Iterator[Stack]:
    with deployed(cluster, "chaos", *(f"{path}={value}" for path, value in SMALL.items())) as stack:
        yield stack


@pytest.mark.timeout(DEPLOY_S + RUN_S + 60)
def test_killed_pods_and_a_rolling_update_lose_nothing_and_double_nothing_without_a_cause(
    stack: Stack, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "loadtest.chaos.cluster", "--tasks", str(TASKS), "--rate", "30",
            "--out", str(tmp_path), *stack.aim(),
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip
    said = done.stdout[-3000:] + done.stderr[-3000:]
    assert done.returncode == 0, said
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["accepted"], result["lost"], result["duplicated_unexplained"]) == (TASKS, 0, 0)
    assert set(result["faults"]) == {"worker_kill", "api_kill", "redis_kill", "rolling_update"}
