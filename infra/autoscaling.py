"""The workers' HorizontalPodAutoscaler: up at once with the load, down slowly after it."""

import pulumi
from pulumi_kubernetes.autoscaling import v2 as autoscaling

from infra.metadata import metadata
from infra.sections import Autoscaling
from infra.settings import Settings
from infra.worker import APP

NAME = "task-worker-hpa"


class Autoscaler(pulumi.ComponentResource):
    """Scales a Deployment by the mean CPU use of its pods."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        namespace: pulumi.Input[str],
        deployment: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("task-queue:infra:Autoscaler", name, None, opts)
        policy = settings.worker.autoscaling
        autoscaling.HorizontalPodAutoscaler(
            "task-worker-hpa",
            metadata=metadata(NAME, APP, namespace),
            spec=autoscaling.HorizontalPodAutoscalerSpecArgs(
                scale_target_ref=autoscaling.CrossVersionObjectReferenceArgs(
                    api_version="apps/v1", kind="Deployment", name=deployment
                ),
                min_replicas=policy.min_replicas,
                max_replicas=policy.max_replicas,
                metrics=[_cpu(policy.cpu_percent)],
                behavior=autoscaling.HorizontalPodAutoscalerBehaviorArgs(
                    scale_up=_up(policy), scale_down=_down(policy)
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


def _cpu(percent: int) -> autoscaling.MetricSpecArgs:
    target = autoscaling.MetricTargetArgs(type="Utilization", average_utilization=percent)
    return autoscaling.MetricSpecArgs(
        type="Resource", resource=autoscaling.ResourceMetricSourceArgs(name="cpu", target=target)
    )


def _up(policy: Autoscaling) -> autoscaling.HPAScalingRulesArgs:
    period = policy.up_period_seconds
    return autoscaling.HPAScalingRulesArgs(
        stabilization_window_seconds=policy.up_window_seconds,
        select_policy="Max",
        policies=[
            autoscaling.HPAScalingPolicyArgs(type="Percent", value=policy.up_percent, period_seconds=period),
            autoscaling.HPAScalingPolicyArgs(type="Pods", value=policy.up_pods, period_seconds=period),
        ],
    )


def _down(policy: Autoscaling) -> autoscaling.HPAScalingRulesArgs:
    return autoscaling.HPAScalingRulesArgs(
        stabilization_window_seconds=policy.down_window_seconds,
        select_policy="Max",
        policies=[
            autoscaling.HPAScalingPolicyArgs(
                type="Percent", value=policy.down_percent, period_seconds=policy.down_period_seconds
            )
        ],
    )
