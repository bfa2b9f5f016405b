"""A mail server that takes everything and delivers nothing: local stacks and tests see what was sent."""

import pulumi
from pulumi_kubernetes.apps import v1 as apps
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from infra import pods
from infra.api import service_url
from infra.metadata import labels, metadata, selector
from infra.settings import Settings

APP = "mail"
SERVICE = "mail-service"
SMTP_PORT, HTTP_PORT = 2525, 8025


class Mail(pulumi.ComponentResource):
    """`.url` is where it tells, by HTTP, what it took."""

    url: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        settings: Settings,
        namespace: pulumi.Input[str],
        image: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("task-queue:infra:Mail", name, None, opts)
        self._settings, self._namespace, self._image = settings, namespace, image
        self._child = pulumi.ResourceOptions(parent=self)
        pods.service_account(APP, namespace, parent=self)
        self._deployment()
        service = settings.mail.service
        self.url = service_url(self._service(), service.type, service.node_address)
        self.register_outputs({"url": self.url})

    def _deployment(self) -> None:
        apps.Deployment(
            "mail",
            metadata=metadata(APP, APP, self._namespace),
            spec=apps.DeploymentSpecArgs(
                replicas=1,
                selector=selector(APP),
                # What it took is in its memory: two at once would each know half.
                strategy=apps.DeploymentStrategyArgs(type="Recreate"),
                template=core.PodTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(labels=labels(APP)), spec=self._pod()
                ),
            ),
            opts=self._child,
        )

    def _pod(self) -> core.PodSpecArgs:
        return core.PodSpecArgs(
            service_account_name=APP,
            automount_service_account_token=False,
            enable_service_links=False,
            security_context=pods.pod_security(),
            image_pull_secrets=pods.pull_secrets(self._settings.images.pull_secrets),
            containers=[
                core.ContainerArgs(
                    name="mail",
                    image=self._image,
                    env=[
                        core.EnvVarArgs(name="SMTP_ADDR", value=f":{SMTP_PORT}"),
                        core.EnvVarArgs(name="HTTP_ADDR", value=f":{HTTP_PORT}"),
                    ],
                    ports=[
                        core.ContainerPortArgs(name="smtp", container_port=SMTP_PORT),
                        core.ContainerPortArgs(name="http", container_port=HTTP_PORT),
                    ],
                    resources=pods.requirements(self._settings.mail.resources),
                    security_context=pods.container_security(),
                    startup_probe=pods.http_probe("/healthz", "http", period_seconds=1, failure_threshold=60),
                    liveness_probe=pods.http_probe(
                        "/healthz", "http", period_seconds=10, failure_threshold=6
                    ),
                    readiness_probe=pods.http_probe(
                        "/healthz", "http", period_seconds=5, failure_threshold=2
                    ),
                )
            ],
        )

    def _service(self) -> core.Service:
        service = self._settings.mail.service
        return core.Service(
            "mail-service",
            metadata=metadata(SERVICE, APP, self._namespace, service.annotations),
            spec=core.ServiceSpecArgs(
                type=service.type,
                selector={"app": APP},
                ports=[
                    core.ServicePortArgs(
                        name="http",
                        port=HTTP_PORT,
                        target_port="http",
                        node_port=service.node_port,
                        protocol="TCP",
                    ),
                    core.ServicePortArgs(name="smtp", port=SMTP_PORT, target_port="smtp", protocol="TCP"),
                ],
            ),
            opts=self._child,
        )
