"""The cluster that is deployed to: one that the environment names, else the embedded one."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from infra.local import cluster as embedded_cluster
from infra.local import paths
from infra.steps import DeployError, run


@dataclass(frozen=True, kw_only=True)
class Target:
    """A cluster by kubeconfig and context; `state` is where what is made once for it is kept."""

    kubeconfig: Path | None
    context: str | None
    embedded: bool
    state: Path

    def environment(self) -> dict[str, str]:
        """The environment in which kubectl and Pulumi reach this cluster."""
        return {**os.environ, **({"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {})}

    def kubectl(self, *words: str, given: str | None = None) -> str:
        """kubectl's output; DeployError with what it said when it fails."""
        return run([*self.kubectl_words(), *words], given=given, environment=self.environment())

    def kubectl_words(self) -> list[str]:
        """kubectl and the choice of the context."""
        return [kubectl_program(), *(["--context", self.context] if self.context else [])]

    def get(self, *words: str) -> dict[str, Any]:
        """What `kubectl get ... -o json` says; an empty dict for an object that is not there."""
        text = self.kubectl("get", *words, "-o", "json", "--ignore-not-found")
        return cast(dict[str, Any], json.loads(text)) if text.strip() else {}

    def start_port_forward(self, namespace: str, service: str, port: int) -> subprocess.Popen[str]:
        """`kubectl port-forward` from a free port of this machine, to be ended by the caller."""
        words = [*self.kubectl_words(), "-n", namespace, "port-forward", f"service/{service}", f":{port}"]
        return subprocess.Popen(  # noqa: S603 arguments are a list, no shell reads them
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=self.environment()
        )


def kubectl_program() -> str:
    """kubectl from the PATH, else the embedded cluster's."""
    own = paths.from_environment().bin / "kubectl"
    found = shutil.which("kubectl") or (str(own) if own.is_file() else None)
    if not found:
        raise DeployError("kubectl is not installed: https://kubernetes.io/docs/tasks/tools/")
    return found


def kubectl_to_type() -> str:
    """kubectl as a person types it here: by its path where it is not on the PATH."""
    return "kubectl" if shutil.which("kubectl") else kubectl_program()


def from_environment(environment: Mapping[str, str] = os.environ) -> Target:
    """The cluster that KUBECONFIG or CONTEXT names, else the embedded one."""
    kubeconfig, context = environment.get("KUBECONFIG"), environment.get("CONTEXT")
    own = embedded_cluster.kubeconfig_path()
    if not (kubeconfig or context) or (kubeconfig and Path(kubeconfig) == own):
        state = embedded_cluster.state_dir() / "deploy"
        return Target(kubeconfig=own, context=None, embedded=True, state=state)
    home = Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    name = context or _current_context(kubeconfig)
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return Target(
        kubeconfig=Path(kubeconfig) if kubeconfig else None,
        context=context,
        embedded=False,
        state=home / "task-queue-deploy" / safe,
    )


def _current_context(kubeconfig: str | None) -> str:
    environment = {**os.environ, **({"KUBECONFIG": kubeconfig} if kubeconfig else {})}
    try:
        return run([kubectl_program(), "config", "current-context"], environment=environment).strip()
    except DeployError as error:
        raise DeployError(f"KUBECONFIG names no cluster: {error}") from None


def start_embedded() -> None:
    """Starts the embedded cluster, or finds it running; it says itself what it does."""
    done = subprocess.run([sys.executable, "-m", "infra.local", "up"], check=False)
    if done.returncode:
        raise DeployError("the embedded cluster did not start: what it said is above")


def is_running(target: Target) -> bool:
    """Whether the API server answers."""
    if target.embedded and not embedded_cluster.is_running():
        return False
    try:
        return target.kubectl("get", "--raw", "/readyz").strip() == "ok"
    except DeployError:
        return False


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A registry that the cluster advertises: `push` is this machine's name of it, `pull` the nodes'."""

    push: str
    pull: str


def advertised_registry(target: Target) -> Registry | None:
    """What the cluster says of a local registry (ConfigMap of KEP-1755), None where it says nothing."""
    found = target.get("configmap", "local-registry-hosting", "-n", "kube-public")
    text = cast(dict[str, str], found.get("data", {})).get("localRegistryHosting.v1")
    content: object = yaml.safe_load(text) if text else None
    if not isinstance(content, dict):
        return None
    hosting = cast(dict[str, str], content)
    host = hosting.get("host")
    # Nodes of kind reach it under the host's own name, which containerd maps; those of k3d do not.
    return Registry(push=host, pull=hosting.get("hostFromContainerRuntime") or host) if host else None
