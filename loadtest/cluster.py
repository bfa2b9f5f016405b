"""What Kubernetes says of the workers: replicas, the autoscaler's view and policy, and the CPU they use."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# (the library leaves parts of its types open)

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx2
from lightkube import Client, KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.autoscaling_v2 import HorizontalPodAutoscalerSpec, HPAScalingRules
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import Pod
from lightkube.utils.quantity import parse_quantity

WORKER = "task-worker"
AUTOSCALER = "task-worker-hpa"
TIMEOUT_S = 5.0
DEFAULT_WINDOW_S = 300  # the API server fills it in; Kubernetes' documented default

_SMALL = {"n": 1e-6, "u": 1e-3}

PodMetrics = create_namespaced_resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rule of a scaling policy: at most `value` pods or per cent in `period_s`."""

    kind: str
    value: int
    period_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the autoscaler is told, as far as the proof needs it."""

    minimum: int
    maximum: int
    target_percent: int
    request_m: float
    """Milli-cores that a worker pod requests: the base of every per cent."""
    up: tuple[Step, ...]
    down: tuple[Step, ...]
    down_window_s: int

    @property
    def target_m(self) -> float:
        """Milli-cores that the autoscaler wants a pod to use."""
        return self.request_m * self.target_percent / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """The workers at one moment."""

    desired: int
    ready: int
    pods: int
    """Pods that are not being ended."""
    ending: int
    cpu_percent: int | None
    """As the autoscaler sees it: per cent of the request, over all pods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One scrape of the metrics API: milli-cores by pod, and the moments it covers."""

    by_pod_m: dict[str, float]
    scrapes: frozenset[str]
    """Names and times of the measurements; the same set means that nothing new has been measured."""

    @property
    def total_m(self) -> float:
        """Milli-cores of all worker pods together."""
        return sum(self.by_pod_m.values())


class Cluster:
    """A namespace of a cluster, read only."""

    def __init__(self, kubeconfig: Path | None, context: str | None, namespace: str) -> None:
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()
        single = config.get(context_name=context)
        self.context = single.context_name if single else "in-cluster"
        self.namespace = namespace
        self._client: Client = Client(
            config=single, namespace=namespace, timeout=httpx2.Timeout(TIMEOUT_S), trust_env=False
        )

    def policy(self) -> Policy:
        """The autoscaler's rules and the request they are relative to."""
        spec = self._client.get(HorizontalPodAutoscaler, AUTOSCALER).spec
        behavior = spec.behavior
        down = behavior.scaleDown if behavior else None
        window = down.stabilizationWindowSeconds if down else None
        return Policy(
            minimum=spec.minReplicas or 1, maximum=spec.maxReplicas, target_percent=_cpu_target(spec),
            request_m=self._request_m(), up=_steps(behavior.scaleUp if behavior else None), down=_steps(down),
            down_window_s=DEFAULT_WINDOW_S if window is None else window,
        )  # fmt: skip

    def workers(self) -> Workers:
        """Replicas wanted and had."""
        status = self._client.get(HorizontalPodAutoscaler, AUTOSCALER).status
        deployment = self._client.get(Deployment, WORKER).status
        pods = list(self._client.list(Pod, labels={"app": WORKER}))
        ending = sum(1 for pod in pods if pod.metadata and pod.metadata.deletionTimestamp)
        percent = next(
            (
                metric.resource.current.averageUtilization
                for metric in (status.currentMetrics or [] if status else [])
                if metric.resource and metric.resource.name == "cpu"
            ),
            None,
        )
        return Workers(
            desired=status.desiredReplicas if status else 0,
            ready=(deployment.readyReplicas or 0) if deployment else 0,
            pods=len(pods) - ending, ending=ending, cpu_percent=percent,
        )  # fmt: skip

    def usage(self) -> Usage:
        """CPU of the worker pods by the metrics API."""
        by_pod: dict[str, float] = {}
        scrapes: set[str] = set()
        for item in self._client.list(PodMetrics, labels={"app": WORKER}):
            line = cast("dict[str, Any]", item)
            name = str(line["metadata"]["name"])
            by_pod[name] = sum(millicores(container["usage"]["cpu"]) for container in line["containers"])
            scrapes.add(f"{name} {line['timestamp']}")
        return Usage(by_pod_m=by_pod, scrapes=frozenset(scrapes))

    def image(self) -> str:
        """What the workers run, for the record."""
        spec = self._client.get(Deployment, WORKER).spec
        pod = spec.template.spec if spec else None
        return (pod.containers[0].image or "?") if pod else "?"

    def _request_m(self) -> float:
        spec = self._client.get(Deployment, WORKER).spec
        containers = spec.template.spec.containers if spec and spec.template.spec else []
        total = 0.0
        for container in containers:
            requests = container.resources.requests if container.resources else None
            if not requests or "cpu" not in requests:
                raise ValueError(f"{WORKER} requests no CPU: the autoscaler has nothing to go by")
            total += millicores(str(requests["cpu"]))
        return total


def millicores(quantity: str) -> float:
    """A CPU quantity in milli-cores; the metrics API counts in billionths, which lightkube does not read."""
    for suffix, size in _SMALL.items():
        if quantity.endswith(suffix):
            return float(quantity.removesuffix(suffix)) * size
    cores = parse_quantity(quantity)
    return float(cores or 0) * 1000


def _cpu_target(spec: HorizontalPodAutoscalerSpec) -> int:
    for metric in spec.metrics or []:
        if metric.resource and metric.resource.name == "cpu" and metric.resource.target.averageUtilization:
            return metric.resource.target.averageUtilization
    raise ValueError(f"{AUTOSCALER} does not scale by CPU utilization")


def _steps(rules: HPAScalingRules | None) -> tuple[Step, ...]:
    policies = (rules.policies or []) if rules else []
    return tuple(Step(kind=rule.type, value=rule.value, period_s=rule.periodSeconds) for rule in policies)
