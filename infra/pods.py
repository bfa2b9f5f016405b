"""What every pod of the stack has in common: identity, hardening, spread, probes, resources."""

from collections.abc import Sequence
from typing import NamedTuple

import pulumi
from pulumi_kubernetes.core import v1 as core

from infra.blocks import Resources
from infra.metadata import metadata, selector

# The numeric user of the images; `runAsNonRoot` cannot check a name.
USER = 10001
_DENIED = core.CapabilitiesArgs(drop=["ALL"])
_DEFAULT_SECCOMP = core.SeccompProfileArgs(type="RuntimeDefault")


def pod_security(owns_volumes: bool = False) -> core.PodSecurityContextArgs:
    """The restricted Pod Security Standard; with `owns_volumes`, claims belong to the pod's group."""
    return core.PodSecurityContextArgs(
        run_as_non_root=True,
        run_as_user=USER,
        run_as_group=USER,
        fs_group=USER if owns_volumes else None,
        # A large claim is not walked through at every start.
        fs_group_change_policy="OnRootMismatch" if owns_volumes else None,
        seccomp_profile=_DEFAULT_SECCOMP,
    )


def container_security() -> core.SecurityContextArgs:
    """No privileges, no capabilities, a root file system that cannot be written."""
    return core.SecurityContextArgs(
        allow_privilege_escalation=False,
        capabilities=_DENIED,
        privileged=False,
        read_only_root_filesystem=True,
        run_as_non_root=True,
        seccomp_profile=_DEFAULT_SECCOMP,
    )


def service_account(app: str, namespace: pulumi.Input[str], parent: pulumi.Resource) -> core.ServiceAccount:
    """An identity of its own for a program, without access to the Kubernetes API."""
    return core.ServiceAccount(
        f"{app}-account",
        metadata=metadata(app, app, namespace),
        automount_service_account_token=False,
        opts=pulumi.ResourceOptions(parent=parent),
    )


def requirements(resources: Resources) -> core.ResourceRequirementsArgs:
    """Requests and limits as the container states them."""
    return core.ResourceRequirementsArgs(
        requests={"cpu": resources.requests.cpu, "memory": resources.requests.memory},
        limits={"cpu": resources.limits.cpu, "memory": resources.limits.memory},
    )


def pull_secrets(names: Sequence[str]) -> list[core.LocalObjectReferenceArgs] | None:
    """Secrets that the nodes pull images with."""
    return [core.LocalObjectReferenceArgs(name=name) for name in names] or None


def spread(app: str) -> list[core.TopologySpreadConstraintArgs]:
    """Over zones and nodes as far as there are any; a pod is never kept waiting for it."""
    return [
        core.TopologySpreadConstraintArgs(
            max_skew=1,
            topology_key=key,
            when_unsatisfiable="ScheduleAnyway",
            label_selector=selector(app),
            match_label_keys=["pod-template-hash"],
        )
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def http_probe(
    path: str, port: str, *, period_seconds: int, failure_threshold: int, timeout_seconds: int = 5
) -> core.ProbeArgs:
    """By HTTP: an exec probe would start a Python on the CPU that the autoscaler measures."""
    return core.ProbeArgs(
        http_get=core.HTTPGetActionArgs(path=path, port=port),
        period_seconds=period_seconds,
        timeout_seconds=timeout_seconds,
        failure_threshold=failure_threshold,
    )


class Probes(NamedTuple):
    """A container's three probes."""

    startup: core.ProbeArgs
    liveness: core.ProbeArgs
    readiness: core.ProbeArgs


def probes(port: str) -> Probes:
    """The probes of the API and the workers.

    Start-up may take 2 minutes on a starved node; a stuck loop is restarted after 1 minute; a pod
    that cannot do its work gets none after 10 s.
    """
    live, ready = "/healthz/live", "/healthz/ready"
    return Probes(
        startup=http_probe(live, port, period_seconds=2, failure_threshold=60),
        liveness=http_probe(live, port, period_seconds=10, failure_threshold=6),
        readiness=http_probe(ready, port, period_seconds=5, failure_threshold=2),
    )


def scratch() -> tuple[core.VolumeArgs, core.VolumeMountArgs]:
    """A small /tmp, as the root file system is read-only."""
    return (
        core.VolumeArgs(name="tmp", empty_dir=core.EmptyDirVolumeSourceArgs(size_limit="64Mi")),
        core.VolumeMountArgs(name="tmp", mount_path="/tmp"),  # noqa: S108 in the container
    )


def from_secret(variable: str, secret: str, key: str) -> core.EnvVarArgs:
    """An environment variable that Kubernetes fills from a Secret."""
    return core.EnvVarArgs(
        name=variable,
        value_from=core.EnvVarSourceArgs(secret_key_ref=core.SecretKeySelectorArgs(name=secret, key=key)),
    )


def from_pod(variable: str, field: str) -> core.EnvVarArgs:
    """An environment variable with a fact about the pod."""
    return core.EnvVarArgs(
        name=variable,
        value_from=core.EnvVarSourceArgs(field_ref=core.ObjectFieldSelectorArgs(field_path=field)),
    )


def from_config(config: str) -> list[core.EnvFromSourceArgs]:
    """Every entry of a ConfigMap as an environment variable."""
    return [core.EnvFromSourceArgs(config_map_ref=core.ConfigMapEnvSourceArgs(name=config))]
