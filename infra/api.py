"""The HTTP API: its Deployment, its Service, and an Ingress where one is asked for."""

import pulumi
from pulumi_kubernetes.apps import v1 as apps
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta
from pulumi_kubernetes.networking import v1 as networking

from infra import pods
from infra.blocks import ServiceType
from infra.budget import disruption_budget
from infra.metadata import config_map, labels, metadata, selector
from infra.redis import Redis
from infra.settings import Settings

APP = "task-api"
SERVICE = "api-service"
PORT = 5000


class Api(pulumi.ComponentResource):
    """`.url` is where the API answers: its Ingress, load balancer, node port or, inside, Service."""

    url: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        settings: Settings,
        namespace: pulumi.Input[str],
        image: pulumi.Input[str],
        redis: Redis,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("task-queue:infra:Api", name, None, opts)
        self._settings, self._namespace, self._image, self._redis = settings, namespace, image, redis
        self._child = pulumi.ResourceOptions(parent=self)
        pods.service_account(APP, namespace, parent=self)
        self._deployment()
        service = self._service()
        if settings.api.ingress:
            self._ingress()
        disruption_budget(APP, namespace, parent=self)
        self.url = self._reached_at(service)
        self.register_outputs({"url": self.url})

    def _environment(self) -> dict[str, str]:
        api = self._settings.api
        return {
            **self._redis.variables,
            "PORT": str(PORT),
            "DRAIN_S": str(api.drain_seconds),
            "SHUTDOWN_GRACE_S": str(api.shutdown_grace_seconds),
            "QUEUE_NAMES": self._settings.queue_names,
            "MAX_BODY_BYTES": str(api.max_body_bytes),
            "MAX_BATCH_BYTES": str(api.max_batch_bytes),
            "MAX_QUEUE_LENGTH": str(api.max_queue_length),
            "DURABILITY": api.durability,
            "LOG_LEVEL": api.log_level,
            "LOG_FORMAT": "json",
        }

    def _deployment(self) -> None:
        config, _ = config_map("task-api-config", APP, self._namespace, self._environment(), parent=self)
        apps.Deployment(
            "task-api",
            metadata=metadata(APP, APP, self._namespace),
            spec=apps.DeploymentSpecArgs(
                replicas=self._settings.api.replicas,
                selector=selector(APP),
                # No capacity is lost during a rollout: a pod goes only once its successor is ready.
                strategy=apps.DeploymentStrategyArgs(
                    type="RollingUpdate",
                    rolling_update=apps.RollingUpdateDeploymentArgs(max_unavailable=0, max_surge=1),
                ),
                template=core.PodTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(labels=labels(APP)), spec=self._pod(config)
                ),
            ),
            # Its Redis is there before it, and goes after it: what it stops with is still put away.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self._redis]),
        )

    def _pod(self, config: str) -> core.PodSpecArgs:
        api = self._settings.api
        volume, mount = pods.scratch()
        probes = pods.probes("http")
        return core.PodSpecArgs(
            service_account_name=APP,
            automount_service_account_token=False,
            enable_service_links=False,
            security_context=pods.pod_security(),
            image_pull_secrets=pods.pull_secrets(self._settings.images.pull_secrets),
            termination_grace_period_seconds=(
                api.pre_stop_seconds + api.drain_seconds + api.shutdown_grace_seconds + 5
            ),
            topology_spread_constraints=pods.spread(APP),
            volumes=[volume, *self._redis.volumes],
            containers=[
                core.ContainerArgs(
                    name="api",
                    image=self._image,
                    ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
                    env_from=pods.from_config(config),
                    env=self._redis.login or None,
                    resources=pods.requirements(api.resources),
                    security_context=pods.container_security(),
                    volume_mounts=[mount, *self._redis.mounts],
                    lifecycle=self._lifecycle(),
                    startup_probe=probes.startup,
                    liveness_probe=probes.liveness,
                    readiness_probe=probes.readiness,
                )
            ],
        )

    def _lifecycle(self) -> core.LifecycleArgs | None:
        """Serve on until every node has taken the pod out of the Service, or connections would be refused."""
        seconds = self._settings.api.pre_stop_seconds
        if not seconds:
            return None
        return core.LifecycleArgs(
            pre_stop=core.LifecycleHandlerArgs(sleep=core.SleepActionArgs(seconds=seconds))
        )

    def _service(self) -> core.Service:
        service = self._settings.api.service
        return core.Service(
            "api-service",
            metadata=metadata(SERVICE, APP, self._namespace, service.annotations),
            spec=core.ServiceSpecArgs(
                type=service.type,
                selector={"app": APP},
                load_balancer_source_ranges=list(service.source_ranges) or None,
                ports=[
                    core.ServicePortArgs(
                        name="http", port=80, target_port="http", node_port=service.node_port, protocol="TCP"
                    )
                ],
            ),
            opts=self._child,
        )

    def _ingress(self) -> None:
        ingress = self._settings.api.ingress
        assert ingress is not None
        backend = networking.IngressBackendArgs(
            service=networking.IngressServiceBackendArgs(
                name=SERVICE, port=networking.ServiceBackendPortArgs(name="http")
            )
        )
        path = networking.HTTPIngressPathArgs(path="/", path_type="Prefix", backend=backend)
        tls = networking.IngressTLSArgs(hosts=[ingress.host], secret_name=ingress.tls_secret)
        networking.Ingress(
            "api-ingress",
            metadata=metadata(APP, APP, self._namespace, ingress.annotations),
            spec=networking.IngressSpecArgs(
                ingress_class_name=ingress.class_name,
                tls=[tls] if ingress.tls_secret else None,
                rules=[
                    networking.IngressRuleArgs(
                        host=ingress.host, http=networking.HTTPIngressRuleValueArgs(paths=[path])
                    )
                ],
            ),
            opts=self._child,
        )

    def _reached_at(self, service: core.Service) -> pulumi.Output[str]:
        ingress = self._settings.api.ingress
        if ingress:
            return pulumi.Output.from_input(f"{'https' if ingress.tls_secret else 'http'}://{ingress.host}")
        return service_url(service, self._settings.api.service.type, self._settings.api.service.node_address)


def service_url(service: core.Service, kind: ServiceType, node_address: str) -> pulumi.Output[str]:
    """Where a Service's first port answers; only known once Kubernetes has placed it."""
    if kind == ServiceType.LOAD_BALANCER:
        return service.status.apply(_of_load_balancer)
    if kind == ServiceType.NODE_PORT:
        return service.spec.apply(lambda spec: f"http://{node_address}:{_node_port(spec)}")
    return service.metadata.apply(lambda meta: f"http://{meta.name}.{meta.namespace}.svc")


def _node_port(spec: core.outputs.ServiceSpec) -> int | str:
    return (spec.ports[0].node_port if spec.ports else None) or "?"


def _of_load_balancer(status: core.outputs.ServiceStatus | None) -> str:
    entries = (status.load_balancer.ingress if status and status.load_balancer else None) or []
    address = (entries[0].hostname or entries[0].ip) if entries else None
    return f"http://{address or '?'}"
