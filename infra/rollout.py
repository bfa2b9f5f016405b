"""Deploys rendered manifests by kubectl: applies, waits, and removes what is no longer rendered."""

from collections.abc import Sequence
from typing import Any, cast

from infra.manifests import Manifest
from infra.metadata import PART_OF
from infra.render import to_yaml
from infra.steps import DeployError, say
from infra.target import Target

# Whoever applied an object is on record with it under this name.
MANAGER = "task-queue-render"
PULUMI = "pulumi"
_SELECTOR = ",".join(f"{key}={value}" for key, value in PART_OF.items())
# Not the claim of Redis, nor the namespace: tasks are in them.
_PRUNED = (
    "deployment,statefulset,service,configmap,secret,serviceaccount,networkpolicy,"
    "horizontalpodautoscaler,poddisruptionbudget,ingress"
)


def deployed_by(target: Target, namespace: str) -> str | None:
    """`pulumi` or `render`, by the record of who manages the API's Deployment; None where it is not there."""
    found = target.get("deployment", "task-api", "-n", namespace, "--show-managed-fields")
    entries = cast(list[dict[str, str]], found.get("metadata", {}).get("managedFields", []))
    managers = [entry.get("manager", "") for entry in entries]
    if MANAGER in managers:
        return "render"
    return PULUMI if any(name.startswith(PULUMI) for name in managers) else None


def apply(target: Target, objects: Sequence[Manifest]) -> None:
    """Server-side apply: the API server merges; what others own, as the autoscaler, is left alone."""
    words = ["apply", "--server-side", "--force-conflicts", f"--field-manager={MANAGER}", "-f", "-"]
    said = target.kubectl(*words, given=to_yaml(list(objects)))
    say(f"    {len(said.splitlines())} objects applied")


def wait(target: Target, namespace: str, objects: Sequence[Manifest], limit_s: int) -> None:
    """Until every workload runs its newest version; DeployError with what holds it up."""
    for manifest in objects:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if kind in ("Deployment", "StatefulSet"):
            workload = f"{kind.lower()}/{name}"
            try:
                target.kubectl("-n", namespace, "rollout", "status", workload, f"--timeout={limit_s}s")
            except DeployError:
                raise DeployError(f"{workload} is not ready:\n{held_up(target, namespace)}") from None
            say(f"    {workload} is ready")


def held_up(target: Target, namespace: str) -> str:
    """Why pods are not ready, a line each, as Kubernetes tells it."""
    lines: list[str] = []
    pods = cast(list[dict[str, Any]], target.get("pods", "-n", namespace, "-l", _SELECTOR).get("items", []))
    for pod in pods:
        reasons = [*_waiting(pod), *_unmet(pod)]
        if reasons:
            lines.append(f"  {pod['metadata']['name']}: {'; '.join(dict.fromkeys(reasons))}")
    lines.append(f"  look closer: kubectl -n {namespace} describe pods; kubectl -n {namespace} get events")
    return "\n".join(lines)


def _waiting(pod: dict[str, Any]) -> list[str]:
    containers = cast(list[dict[str, Any]], pod.get("status", {}).get("containerStatuses", []))
    states = [container.get("state", {}).get("waiting", {}) for container in containers]
    return [f"{state.get('reason')} {state.get('message', '')}".strip() for state in states if state]


def _unmet(pod: dict[str, Any]) -> list[str]:
    conditions = cast(list[dict[str, str]], pod.get("status", {}).get("conditions", []))
    return [c["message"] for c in conditions if c["status"] == "False" and c.get("message")]


def prune(target: Target, namespace: str, objects: Sequence[Manifest]) -> None:
    """Deletes the stack's objects that are no longer rendered, as ConfigMaps of former contents."""
    rendered = {(o["kind"], o["metadata"]["name"]) for o in objects}
    for kind, name in sorted(made_by(target, namespace, MANAGER) - rendered):
        target.kubectl("-n", namespace, "delete", f"{kind.lower()}/{name}", "--wait=false")
        say(f"    {kind} {name} is no longer needed: removed")


def made_by(target: Target, namespace: str, manager: str) -> set[tuple[str, str]]:
    """Kind and name of the stack's objects that a manager whose name begins so has made."""
    items = target.get(_PRUNED, "-n", namespace, "-l", _SELECTOR, "--show-managed-fields").get("items", [])
    found: set[tuple[str, str]] = set()
    for item in cast(list[dict[str, Any]], items):
        managers = [entry.get("manager", "") for entry in item["metadata"].get("managedFields", [])]
        if any(name.startswith(manager) for name in managers):
            found.add((item["kind"], item["metadata"]["name"]))
    return found


def is_left(target: Target, namespace: str) -> bool:
    """Whether objects of the stack are there, such as those of a run of Pulumi that was killed."""
    return bool(target.get(_PRUNED, "-n", namespace, "-l", _SELECTOR).get("items"))


def destroy(target: Target, namespace: str, *, objects_of_namespace: bool) -> None:
    """Deletes the namespace with all in it or, where it is not the stack's own, the stack's objects in it."""
    # Redis last: API and workers put away what they have under way.
    words = ["delete", "deployment", "-l", _SELECTOR, "--cascade=foreground", "--ignore-not-found"]
    target.kubectl("-n", namespace, *words, "--timeout=120s")
    if objects_of_namespace:
        target.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=180s")
        return
    kinds = f"{_PRUNED},persistentvolumeclaim"
    target.kubectl("-n", namespace, "delete", kinds, "-l", _SELECTOR, "--ignore-not-found", "--timeout=180s")
