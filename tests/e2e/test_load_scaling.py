"""Workers from 2 to 10 and back to 2 under real e-mail load, on a real cluster, in a namespace of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from infra.target import Target
from tests.e2e.stacks import DEPLOY_S, ROOT, Stack, deployed

SHORT_WINDOW_S = 30
SETTINGS = (
    "api.replicas=2",
    f"worker.autoscaling.downWindowSeconds={SHORT_WINDOW_S}",
    "worker.autoscaling.downPeriodSeconds=15",
)
RUN_S = 700
PEAK_LIMIT_S = "150"
"""The bar of 90 s is `make load`'s, on a machine of its own; beside other tests there is less CPU."""


@pytest.fixture(scope="module")
def stack(cluster: Target) -> Iterator[Stack]:
    with deployed(cluster, "load", *SETTINGS) as stack:
        yield stack


def _prove(stack: Stack, out: Path, *words: str) -> dict[str, Any]:
    """The result of a run of the proof against the stack."""
    done = subprocess.run(
        [
            sys.executable, "-m", "loadtest.autoscale", "--short", "--peak-limit-s", PEAK_LIMIT_S,
            "--out", str(out), *stack.aim(), *words,
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip
    assert (out / "result.json").exists(), done.stdout[-2000:] + done.stderr[-2000:]
    return cast("dict[str, Any]", json.loads((out / "result.json").read_text()))


@pytest.mark.timeout(DEPLOY_S + RUN_S + 60)
def test_workers_rise_to_ten_and_return_to_two_with_nothing_lost(stack: Stack, tmp_path: Path) -> None:
    result = _prove(stack, tmp_path / "load")
    assert [check for check in result["checks"] if not check["passed"]] == []
    assert result["replicas"] == {"start": 2, "peak": 10, "end": 2}
    assert (result["lost"], result["duplicated"], result["failed_requests"]) == (0, 0, 0)
    assert result["accepted"] == result["delivered"] > 100
