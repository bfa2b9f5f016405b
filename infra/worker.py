"""The workers that deliver e-mail: a Deployment whose size belongs to the autoscaler."""

import pulumi
from pulumi_kubernetes.apps import v1 as apps
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from infra import pods
from infra.budget import disruption_budget
from infra.metadata import config_map, labels, metadata, secret, selector
from infra.redis import Redis
from infra.settings import Settings

APP = "task-worker"
PROBE_PORT = 8081


def environment(settings: Settings, redis: Redis) -> dict[str, str]:
    """The worker's settings that are no secrets."""
    worker, email, smtp = settings.worker, settings.email, settings.email.smtp
    variables = {
        **redis.variables,
        "QUEUE_NAMES": settings.queue_names,
        "WORKER_CONCURRENCY": str(worker.concurrency),
        "PROBE_PORT": str(PROBE_PORT),
        "RETENTION_S": str(worker.retention_seconds),
        "DEAD_RETENTION_S": str(worker.dead_retention_seconds),
        "RETENTION_COUNT": str(worker.retention_count),
        "POISON_KILLS": str(worker.poison_kills),
        "MAX_RESULT_BYTES": str(worker.max_result_bytes),
        "SHUTDOWN_GRACE_S": str(worker.shutdown_grace_seconds),
        "EMAIL_TRANSPORT": email.transport,
        "EMAIL_SENDER": email.sender,
        "LOG_LEVEL": worker.log_level,
        "LOG_FORMAT": "json",
    }
    if smtp:
        variables |= {
            "SMTP_HOST": smtp.host,
            "SMTP_PORT": str(smtp.port),
            "SMTP_TLS": smtp.tls,
            "SMTP_TLS_VERIFY": str(smtp.verify).lower(),
            "SMTP_POOL_SIZE": str(smtp.pool_size),
            "SMTP_TIMEOUT_S": str(smtp.timeout_seconds),
        }
    return {key: str(value) for key, value in variables.items()}


class Worker(pulumi.ComponentResource):
    """`.deployment` is the name of the Deployment to scale."""

    deployment: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        settings: Settings,
        namespace: pulumi.Input[str],
        image: pulumi.Input[str],
        redis: Redis,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("task-queue:infra:Worker", name, None, opts)
        self._settings, self._namespace, self._image, self._redis = settings, namespace, image, redis
        pods.service_account(APP, namespace, parent=self)
        made = self._deployment()
        disruption_budget(APP, namespace, parent=self)
        self.deployment = made.metadata.apply(lambda found: str(found.name))
        self.register_outputs({})

    def _login(self) -> list[core.EnvVarArgs]:
        """The SMTP login, both parts from one Secret."""
        smtp, password = self._settings.email.smtp, self._settings.smtp_password
        if not (smtp and smtp.username and password):
            return []
        redis_password = self._settings.redis_password
        key = redis_password.get_secret_value() if redis_password else ""
        data = {"username": smtp.username, "password": password.get_secret_value()}
        made, _ = secret("smtp-login", APP, self._namespace, data, key=key, parent=self)
        return [
            pods.from_secret("SMTP_USERNAME", made, "username"),
            pods.from_secret("SMTP_PASSWORD", made, "password"),
        ]

    def _deployment(self) -> apps.Deployment:
        variables = environment(self._settings, self._redis)
        config, _ = config_map("task-worker-config", APP, self._namespace, variables, parent=self)
        return apps.Deployment(
            "task-worker",
            metadata=metadata(APP, APP, self._namespace),
            # No replicas: each update of the stack would undo what the autoscaler did.
            spec=apps.DeploymentSpecArgs(
                selector=selector(APP),
                strategy=apps.DeploymentStrategyArgs(
                    type="RollingUpdate",
                    rolling_update=apps.RollingUpdateDeploymentArgs(max_unavailable=0, max_surge="25%"),
                ),
                template=core.PodTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(labels=labels(APP)), spec=self._pod(config)
                ),
            ),
            # Its Redis is there before it, and goes after it: what it stops with is still put away.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self._redis]),
        )

    def _pod(self, config: str) -> core.PodSpecArgs:
        worker = self._settings.worker
        volume, mount = pods.scratch()
        probes = pods.probes("probes")
        place = [pods.from_pod("POD_NAME", "metadata.name"), pods.from_pod("NODE_NAME", "spec.nodeName")]
        return core.PodSpecArgs(
            service_account_name=APP,
            automount_service_account_token=False,
            enable_service_links=False,
            security_context=pods.pod_security(),
            image_pull_secrets=pods.pull_secrets(self._settings.images.pull_secrets),
            # What is under way is given back at the end of the drain; 5 s are for that and for leaving.
            termination_grace_period_seconds=worker.shutdown_grace_seconds + 5,
            topology_spread_constraints=pods.spread(APP),
            volumes=[volume, *self._redis.volumes],
            containers=[
                core.ContainerArgs(
                    name="worker",
                    image=self._image,
                    ports=[core.ContainerPortArgs(name="probes", container_port=PROBE_PORT)],
                    env_from=pods.from_config(config),
                    env=[*self._redis.login, *self._login(), *place],
                    resources=pods.requirements(worker.resources),
                    security_context=pods.container_security(),
                    volume_mounts=[mount, *self._redis.mounts],
                    startup_probe=probes.startup,
                    liveness_probe=probes.liveness,
                    readiness_probe=probes.readiness,
                )
            ],
        )
