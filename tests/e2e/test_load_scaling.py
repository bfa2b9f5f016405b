"""Workers from 2 to 10 and back to 2 under real e-mail load, on a real cluster, in a namespace of its own."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from infra.target import Target

ROOT = Path(__file__).resolve().parents[2]
SHORT_WINDOW_S = 30
SETTINGS = (
    "api.replicas=2",
    "api.service.nodePort=null",  # a stack from `make up` may have the usual ports
    "mail.service.nodePort=null",
    f"worker.autoscaling.downWindowSeconds={SHORT_WINDOW_S}",
    "worker.autoscaling.downPeriodSeconds=15",
)
DEPLOY_S, RUN_S = 400, 700
PEAK_LIMIT_S = "150"
"""The bar of 90 s is `make load`'s, on a machine of its own; beside other tests there is less CPU."""


@dataclass(frozen=True)
class Stack:
    target: Target
    namespace: str

    def url(self, service: str, port: str) -> str:
        ports = self.target.get("service", service, "-n", self.namespace)["spec"]["ports"]
        return f"http://127.0.0.1:{next(p['nodePort'] for p in ports if p['name'] == port)}"


def _deploy(command: str, namespace: str) -> None:
    words = [sys.executable, "-m", "infra.deploy", command, "--method", "render", "--namespace", namespace]
    words += (
        [word for setting in SETTINGS for word in ("--set", setting)]
        if command == "up"
        else ["--keep-cluster"]
    )
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=DEPLOY_S, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def stack(cluster: Target) -> Iterator[Stack]:
    namespace = f"load-{uuid.uuid4().hex[:8]}"
    try:
        _deploy("up", namespace)
        yield Stack(cluster, namespace)
    finally:
        _deploy("down", namespace)


def _prove(stack: Stack, out: Path, *words: str) -> dict[str, Any]:
    """The result of a run of the proof against the stack."""
    kubeconfig = ["--kubeconfig", str(stack.target.kubeconfig)] if stack.target.kubeconfig else []
    context = ["--context", stack.target.context] if stack.target.context else []
    done = subprocess.run(
        [
            sys.executable, "-m", "loadtest.autoscale", "--short", "--peak-limit-s", PEAK_LIMIT_S,
            "--namespace", stack.namespace,
            "--out", str(out), "--api-url", stack.url("api-service", "http"),
            "--mail-url", stack.url("mail-service", "http"),
            *kubeconfig, *context, *words,
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
