"""The Kubernetes objects of a new cluster: DNS, metrics, storage, the registry's advertisement, rights."""

import base64
import json
from collections.abc import Mapping, Sequence

from infra.local.settings import Settings

Object = dict[str, object]
SYSTEM = "kube-system"
RBAC = "rbac.authorization.k8s.io"


def objects(settings: Settings, authority_pem: bytes) -> list[Object]:
    """All objects that `up` applies; `authority_pem` signed metrics-server's certificate."""
    return [
        *_dns(settings),
        *_metrics(settings, authority_pem),
        *_storage(settings),
        _registry(settings),
    ]


def manifest(settings: Settings, authority_pem: bytes) -> str:
    """The objects as one JSON document for `kubectl apply`."""
    return json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": objects(settings, authority_pem)}, indent=1
    )


def _dns(settings: Settings) -> list[Object]:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": settings.ports.dns},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": settings.ports.dns},
    ]
    watched: list[tuple[str, Sequence[str]]] = [
        ("", ("endpoints", "services", "pods", "namespaces")),
        ("discovery.k8s.io", ("endpointslices",)),
    ]
    return [
        *_node_service(settings, "kube-dns", ports, cluster_ip=settings.network.dns_ip),
        _role("task-queue:coredns", [_rule(group, names, "list", "watch") for group, names in watched]),
        _binding("task-queue:coredns", "task-queue:coredns", "task-queue:coredns"),
    ]


def _metrics(settings: Settings, authority_pem: bytes) -> list[Object]:
    user = "task-queue:metrics-server"
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": settings.ports.metrics}
    api_service: Object = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "service": {"name": "metrics-server", "namespace": SYSTEM, "port": 443},
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "caBundle": base64.b64encode(authority_pem).decode(),
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }
    readers = {f"{RBAC}/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")}
    return [
        *_node_service(settings, "metrics-server", [port]),
        api_service,
        _role(
            "system:aggregated-metrics-reader",
            [_rule("metrics.k8s.io", ("pods", "nodes"), "get", "list", "watch")],
            labels=readers,
        ),
        _role(
            "system:metrics-server",
            [_rule("", ("nodes/metrics",), "get"), _rule("", ("pods", "nodes"), "get", "list", "watch")],
        ),
        _binding("system:metrics-server", "system:metrics-server", user),
        _binding("metrics-server:system:auth-delegator", "system:auth-delegator", user),
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "metrics-server-auth-reader", "namespace": SYSTEM},
            "roleRef": _reference("Role", "extension-apiserver-authentication-reader"),
            "subjects": [_reference("User", user)],
        },
    ]


def _storage(settings: Settings) -> list[Object]:
    user = "task-queue:volumes"
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": settings.storage_class,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": settings.provisioner,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
        _role(
            user,
            [
                _rule(
                    "", ("persistentvolumes",), "get", "list", "watch", "create", "delete", "patch", "update"
                ),
                _rule("", ("persistentvolumeclaims",), "get", "list", "watch", "update"),
                _rule("storage.k8s.io", ("storageclasses",), "get", "list", "watch"),
                _rule("", ("nodes",), "get", "list", "watch"),
                _rule("", ("events",), "create", "update", "patch"),
            ],
        ),
        _binding(user, user, user),
    ]


def _registry(settings: Settings) -> Object:
    """KEP-1755: how tools learn of the registry, and under which name nodes pull from it."""
    hosting = json.dumps(
        {
            "host": settings.registry,
            "hostFromContainerRuntime": settings.registry,
            "help": "https://kind.sigs.k8s.io/docs/user/local-registry/",
        }
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "local-registry-hosting", "namespace": "kube-public"},
        "data": {"localRegistryHosting.v1": hosting},  # YAML, of which JSON is a part
    }


def _node_service(
    settings: Settings, name: str, ports: Sequence[Mapping[str, object]], cluster_ip: str | None = None
) -> list[Object]:
    """A Service without a selector, and the slice that points it at a program of the node itself."""
    address = {"clusterIP": cluster_ip} if cluster_ip else {}
    labels = {"k8s-app": name}
    spec = {**address, "ports": ports}
    slice_ports = [
        {"name": port["name"], "port": port["targetPort"], "protocol": port["protocol"]} for port in ports
    ]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": SYSTEM, "labels": labels},
            "spec": spec,
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-node",
                "namespace": SYSTEM,
                "labels": {**labels, "kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [settings.network.node_ip], "conditions": {"ready": True}}],
            "ports": slice_ports,
        },
    ]


def _rule(group: str, resources: Sequence[str], *verbs: str) -> dict[str, object]:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def _role(name: str, rules: Sequence[dict[str, object]], labels: dict[str, str] | None = None) -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels or {}},
        "rules": list(rules),
    }


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"apiGroup": RBAC, "kind": kind, "name": name}


def _binding(name: str, role: str, user: str) -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": _reference("ClusterRole", role),
        "subjects": [_reference("User", user)],
    }
