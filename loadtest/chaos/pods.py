"""The pods of a stack: which there are, which had which address when, and how to do away with one."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# (the library leaves parts of its types open)

import asyncio
import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from lightkube import ApiError, Client, KubeConfig
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

API, WORKER, REDIS = "task-api", "task-worker", "redis"
TIMEOUT_S = 5.0
LOOK_S = 1.0
_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""What `kubectl rollout restart` sets."""
AWAY = (httpx2.HTTPError, ApiError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A pod at one look."""

    name: str
    uid: str
    app: str
    ip: str
    ready: bool
    ending: bool
    restarts: int


class Addresses:
    """Which pod had which IP address from when on: addresses are used again."""

    def __init__(self) -> None:
        self._held: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)

    def seen(self, ip: str, pod: str, when: float) -> None:
        """A look found the pod at this address."""
        held = self._held[ip]
        if not held or held[-1][1] != pod:
            held.append((when, pod))

    def holder(self, ip: str, when: float) -> str:
        """The pod that had the address then (a look may be a second late); else the address."""
        held = [pod for since, pod in self._held.get(ip, []) if since <= when + LOOK_S]
        return held[-1] if held else ip


class Pods:
    """The pods of one namespace."""

    def __init__(self, kubeconfig: Path | None, context: str | None, namespace: str) -> None:
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()
        self._client: Client = Client(
            config=config.get(context_name=context),
            namespace=namespace,
            timeout=httpx2.Timeout(TIMEOUT_S),
            trust_env=False,
        )
        self.addresses = Addresses()
        self.restarted: set[str] = set()
        """Pods with a container that ended by itself."""

    async def look(self) -> list[Seen]:
        """The pods of API, workers and Redis now."""
        seen = await asyncio.to_thread(self._list)
        for pod in seen:
            if pod.ip:
                self.addresses.seen(pod.ip, pod.name, time.time())
            if pod.restarts:
                self.restarted.add(pod.name)
        return seen

    async def watch(self) -> None:
        """Looks every second, for as long as it is let."""
        while True:
            with contextlib.suppress(*AWAY):  # the next look tells
                await self.look()
            await asyncio.sleep(LOOK_S)

    async def kill(self, name: str) -> None:
        """Deletes the pod with no grace; the kubelet still gives it 2 s between SIGTERM and SIGKILL."""
        await asyncio.to_thread(self._client.delete, Pod, name, grace_period=0)

    async def restart(self, deployment: str) -> None:
        """Begins a rolling update to the same image."""
        stamp = {"template": {"metadata": {"annotations": {_RESTARTED_AT: datetime.now(UTC).isoformat()}}}}
        await asyncio.to_thread(self._client.patch, Deployment, deployment, {"spec": stamp})

    async def rolled_out(self, deployment: str) -> bool:
        """Whether every pod is of the latest template and ready."""
        found = await asyncio.to_thread(self._client.get, Deployment, deployment)
        status, wanted = found.status, found.spec.replicas if found.spec else None
        assert found.metadata is not None
        if status is None or (status.observedGeneration or 0) < (found.metadata.generation or 0):
            return False
        return (status.updatedReplicas or 0) == status.replicas == (status.readyReplicas or 0) == wanted

    def _list(self) -> list[Seen]:
        pods = self._client.list(Pod, labels={"app": (API, WORKER, REDIS)})
        return sorted((_seen(pod) for pod in pods), key=lambda pod: pod.name)


def _seen(pod: Pod) -> Seen:
    assert pod.metadata is not None
    status = pod.status
    conditions = (status.conditions or []) if status else []
    containers = (status.containerStatuses or []) if status else []
    return Seen(
        name=pod.metadata.name or "",
        uid=pod.metadata.uid or "",
        app=(pod.metadata.labels or {}).get("app", ""),
        ip=(status.podIP or "") if status else "",
        ready=any(c.type == "Ready" and c.status == "True" for c in conditions),
        ending=pod.metadata.deletionTimestamp is not None,
        restarts=sum(container.restartCount for container in containers),
    )
