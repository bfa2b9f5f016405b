"""The proof's own course, from probe to report, on real services and a cluster that a server plays."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loadtest.endpoints import MailServer
from tests.fixtures.processes import ROOT, Process, Services, wait_until
from tests.integration.test_mailserver import Running, program, running

__all__ = ["program", "running"]
MILLICORES_PER_MAIL = 4
BUSY_PER_S = 6.0


class PlayedCluster:
    """Doubles its workers each second under load, halves them after a window without; the metrics follow."""

    def __init__(self, mail_server: MailServer) -> None:
        self._mail, self._lock = mail_server, threading.Lock()
        self._seen: list[tuple[float, int]] = []
        self._replicas, self._moved_at, self._busy_at = 2, 0.0, 0.0

    def state(self) -> tuple[int, float]:
        """Replicas, and e-mails a second."""
        with self._lock:
            now = time.monotonic()
            self._seen.append((now, int(self._mail.stats()["received"])))
            self._seen = [row for row in self._seen if now - row[0] < 3]
            (start, before), (end, after) = self._seen[0], self._seen[-1]
            rate = (after - before) / (end - start) if end - start > 1 else 0.0
            if rate > BUSY_PER_S:
                self._busy_at = now
            if now - self._moved_at > 1:
                self._move(now, rate)
            return self._replicas, rate

    def _move(self, now: float, rate: float) -> None:
        if rate > BUSY_PER_S and self._replicas < 10:
            self._replicas, self._moved_at = min(10, self._replicas * 2), now
        elif rate < BUSY_PER_S and now - self._busy_at > 4 and self._replicas > 2:
            self._replicas, self._moved_at = max(2, self._replicas // 2), now

    def answer(self, path: str) -> dict[str, Any]:
        """The object at a path of the Kubernetes API."""
        replicas, rate = self.state()
        meta = {"name": "x", "namespace": "n"}
        if "horizontalpodautoscalers" in path:
            status = {"desiredReplicas": replicas, "currentReplicas": replicas}
            return {"metadata": meta, "spec": _HPA_SPEC, "status": status}
        if "deployments" in path:
            return {"metadata": meta, "spec": _DEPLOYMENT_SPEC, "status": {"readyReplicas": replicas}}
        if "metrics.k8s.io" in path:
            cpu = f"{1_000_000 + int(rate * MILLICORES_PER_MAIL * 1e6 / replicas)}n"
            stamp = f"{time.time():.0f}"
            return {"items": [_metrics(n, cpu, stamp) for n in range(replicas)]}
        return {"items": [{"metadata": {"name": f"w{n}"}} for n in range(replicas)], "metadata": {}}


_CPU = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
_HPA_SPEC = {
    "minReplicas": 2, "maxReplicas": 10, "scaleTargetRef": {"kind": "Deployment", "name": "task-worker"},
    "metrics": [{"type": "Resource", "resource": _CPU}],
    "behavior": {
        "scaleUp": {"policies": [{"type": "Percent", "value": 100, "periodSeconds": 1}]},
        "scaleDown": {
            "stabilizationWindowSeconds": 4,
            "policies": [{"type": "Percent", "value": 50, "periodSeconds": 1}],
        },
    },
}  # fmt: skip
_DEPLOYMENT_SPEC = {
    "selector": {},
    "template": {
        "spec": {
            "containers": [{"name": "worker", "image": "w:1", "resources": {"requests": {"cpu": "10m"}}}]
        }
    },
}


def _metrics(number: int, cpu: str, stamp: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"w{number}"}, "timestamp": stamp, "window": "1s",
        "containers": [{"name": "worker", "usage": {"cpu": cpu, "memory": "1Mi"}}],
    }  # fmt: skip


def _handler(answer: Callable[[str], dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps(answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    return Handler


@pytest.fixture
def kubeconfig(running: Running, tmp_path: Path) -> Iterator[Path]:
    played = PlayedCluster(running.ledger)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(played.answer))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "played",
            "contexts": [{"name": "played", "context": {"cluster": "played", "user": "nobody"}}],
            "clusters": [{"name": "played", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "nobody", "user": {}}],
        })
    )  # fmt: skip
    yield path
    server.shutdown()
    server.server_close()


@pytest.fixture
def words(running: Running, services: Services, kubeconfig: Path, tmp_path: Path) -> list[str]:
    """The command line for a run of seconds."""
    services.worker(**running.worker_env())
    return [
        sys.executable, "-m", "loadtest.autoscale", "--kubeconfig", str(kubeconfig), "--namespace", "n",
        "--api-url", services.api(), "--mail-url", running.url, "--out", str(tmp_path / "out"),
        "--short", "--hold-s", "7",
    ]  # fmt: skip


def _result(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "out" / "result.json").read_text())


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)


def test_a_calibrated_run_ends_with_a_verdict_a_report_and_a_picture(
    words: list[str], tmp_path: Path
) -> None:
    done = _run([*words, "--calibration-rate", "3"])
    result = _result(tmp_path)
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-2000:])
    assert result["passed"] is True
    assert result["replicas"] == {"start": 2, "peak": 10, "end": 2}
    assert result["accepted"] == result["delivered"] > 0
    assert result["calibration"]["cpu_ms_per_mail"] == pytest.approx(MILLICORES_PER_MAIL, rel=0.3)
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "out" / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_run_stops_the_load_and_still_leaves_its_record(
    words: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "run.log"
    run = Process([*words, "--rate", "10", "--hold-s", "100"], {}, log)
    wait_until(lambda: " hold " in log.read_text(), 60, "the run holds its peak")
    run.signal(signal.SIGINT)
    assert run.wait(60) == 1
    result = _result(tmp_path)
    assert (result["passed"], result["error"]) == (False, "interrupted")
    assert result["accepted"] > 0
    pattern = str(tmp_path / "out")  # each Locust of the run has it in its environment
    environments = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/environ") if _readable(path))
    assert not any(f"LOAD_RECORD_DIR={pattern}".encode() in environment for environment in environments)


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_a_peak_that_does_not_come_ends_the_run_with_a_failed_verdict(
    words: list[str], tmp_path: Path
) -> None:
    done = _run([*words, "--rate", "2", "--peak-limit-s", "3", "--peak-timeout-s", "6"])
    assert done.returncode == 1, done.stderr[-2000:]
    assert _result(tmp_path)["error"] == "10 workers ready: not within 6 s"


def test_nothing_is_loaded_without_a_mail_server(words: list[str], tmp_path: Path) -> None:
    done = _run([*words, "--mail-url", "http://127.0.0.1:1"])
    assert done.returncode == 2
    assert "no test mail server" in done.stderr
    assert not (tmp_path / "out").exists()
