"""PodDisruptionBudgets: a drained node takes one pod of a program at a time."""

import pulumi
from pulumi_kubernetes.policy import v1 as policy

from infra.metadata import metadata, selector


def disruption_budget(
    app: str, namespace: pulumi.Input[str], parent: pulumi.Resource
) -> policy.PodDisruptionBudget:
    """At most one pod of `app` is evicted at once; one that is broken anyway never holds up a drain.

    Redis has none: with a single replica a budget would either block every drain or say nothing.
    """
    return policy.PodDisruptionBudget(
        f"{app}-budget",
        metadata=metadata(app, app, namespace),
        spec=policy.PodDisruptionBudgetSpecArgs(
            max_unavailable=1, selector=selector(app), unhealthy_pod_eviction_policy="AlwaysAllow"
        ),
        opts=pulumi.ResourceOptions(parent=parent),
    )
