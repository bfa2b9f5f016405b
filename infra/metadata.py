"""Names and labels that the stack's objects share, and the hash of content that some names carry."""

import base64
import hashlib
import json
from collections.abc import Mapping

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

PART_OF = {"app.kubernetes.io/part-of": "task-queue"}


def labels(app: str) -> dict[str, str]:
    """Labels of everything that belongs to one program, as `task-api`."""
    return {"app": app, "app.kubernetes.io/name": app, **PART_OF}


def metadata(
    name: str, app: str, namespace: pulumi.Input[str], annotations: Mapping[str, str] | None = None
) -> meta.ObjectMetaArgs:
    """Metadata with a fixed name, so that what Pulumi makes and what `render` prints are the same objects."""
    return meta.ObjectMetaArgs(
        name=name,
        namespace=namespace,
        labels=labels(app),
        annotations=dict(annotations) if annotations else None,
    )


def selector(app: str) -> meta.LabelSelectorArgs:
    """Selects the pods of one program."""
    return meta.LabelSelectorArgs(match_labels={"app": app})


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _canonical(data: Mapping[str, str]) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def content_name(name: str, data: Mapping[str, str]) -> str:
    """`name` with a hash of the content, so that pods roll when it changes."""
    return f"{name}-{hashlib.sha256(_canonical(data)).hexdigest()[:10]}"


def secret_name(name: str, data: Mapping[str, str], key: str) -> str:
    """Like content_name, for a Secret: a slow hash keyed by a secret, or its name would help to guess it."""
    # scrypt's parameters are RFC 7914's for interactive use; 40 bits of it are a name, not a digest.
    slow = hashlib.scrypt(_canonical(data), salt=f"{name}\0{key}".encode(), n=2**14, r=8, p=1, dklen=5)
    return f"{name}-{slow.hex()}"


def config_map(
    name: str, app: str, namespace: pulumi.Input[str], data: Mapping[str, str], parent: pulumi.Resource
) -> tuple[str, core.ConfigMap]:
    """A ConfigMap named by its content, and that name; Pulumi knows it as `name`."""
    full_name = content_name(name, data)
    made = core.ConfigMap(
        name,
        metadata=metadata(full_name, app, namespace),
        data=dict(data),
        immutable=True,
        opts=pulumi.ResourceOptions(parent=parent),
    )
    return full_name, made


def secret(
    name: str,
    app: str,
    namespace: pulumi.Input[str],
    data: Mapping[str, str],
    key: str,
    parent: pulumi.Resource,
) -> tuple[str, core.Secret]:
    """A Secret named by a keyed hash of its content, and that name; Pulumi knows it as `name`."""
    full_name = secret_name(name, data, key)
    made = core.Secret(
        name,
        metadata=metadata(full_name, app, namespace),
        type="Opaque",
        data={item: pulumi.Output.secret(_base64(value)) for item, value in data.items()},
        immutable=True,
        opts=pulumi.ResourceOptions(parent=parent),
    )
    return full_name, made
