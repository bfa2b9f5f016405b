"""A stack deployed from rendered manifests in a namespace of its own, and removed again."""

import subprocess
import sys
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.target import Target

ROOT = Path(__file__).resolve().parents[2]
DEPLOY_S = 400
FREE_PORTS = ("api.service.nodePort=null", "mail.service.nodePort=null")
"""A stack from `make up` may have the usual ports."""


@dataclass(frozen=True)
class Stack:
    """Where a stack runs and where it answers."""

    target: Target
    namespace: str

    def url(self, service: str, port: str = "http") -> str:
        """Of a Service's NodePort on this machine."""
        ports = self.target.get("service", service, "-n", self.namespace)["spec"]["ports"]
        return f"http://127.0.0.1:{next(p['nodePort'] for p in ports if p['name'] == port)}"

    def aim(self) -> list[str]:
        """The options that name this stack to a load test (`loadtest.options.add_target`)."""
        kubeconfig = ["--kubeconfig", str(self.target.kubeconfig)] if self.target.kubeconfig else []
        context = ["--context", self.target.context] if self.target.context else []
        urls = ["--api-url", self.url("api-service"), "--mail-url", self.url("mail-service")]
        return ["--namespace", self.namespace, *urls, *kubeconfig, *context]

    def kubectl(self, *words: str) -> str:
        """What kubectl prints."""
        return self.target.kubectl(*words, "-n", self.namespace)


@contextmanager
def deployed(cluster: Target, name: str, *settings: str) -> Generator[Stack]:
    """The stack while it is there. `settings` are PATH=VALUE on top of the stack `local`."""
    namespace = f"{name}-{uuid.uuid4().hex[:8]}"
    try:
        deploy("up", namespace, *[word for s in (*FREE_PORTS, *settings) for word in ("--set", s)])
        yield Stack(cluster, namespace)
    finally:
        deploy("down", namespace, "--keep-cluster")


def deploy(command: str, namespace: str, *words: str) -> None:
    """Runs `python -m infra.deploy` and shows its words if it fails."""
    command_line = [sys.executable, "-m", "infra.deploy", command, "--method", "render"]
    done = subprocess.run(
        [*command_line, "--namespace", namespace, *words],
        cwd=ROOT, capture_output=True, text=True, timeout=DEPLOY_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
