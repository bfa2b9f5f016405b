"""The namespace, in which only pods of the restricted Pod Security Standard are let in."""

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from infra.metadata import PART_OF
from infra.settings import Settings

_POD_SECURITY = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}


class Namespace(pulumi.ComponentResource):
    """Makes the namespace, unless the settings say that it is there; `.name` waits until it is."""

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("task-queue:infra:Namespace", name, None, opts)
        self.name: pulumi.Input[str] = settings.namespace
        if settings.create_namespace:
            made = core.Namespace(
                "namespace",
                metadata=meta.ObjectMetaArgs(name=settings.namespace, labels={**PART_OF, **_POD_SECURITY}),
                # Deleting it deletes the claim that Redis keeps tasks in.
                opts=pulumi.ResourceOptions(parent=self, protect=settings.redis.protect),
            )
            self.name = made.metadata.apply(lambda found: str(found.name))
        self.register_outputs({})
