"""Redis, the only state there is: a StatefulSet with an append-only file on a claim, or an external one."""

import pulumi
from pulumi_kubernetes.apps import v1 as apps
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from infra import pods, quantities
from infra.metadata import config_map, labels, metadata, secret, selector
from infra.settings import Settings

APP = "redis"
SERVICE = "redis-service"
PORT = 6379
PASSWORD_KEY = "password"  # noqa: S105 the name of an entry
_SENTINEL_KEY = "sentinel-password"
_CA_KEY = "ca.pem"
_CA_FOLDER = "/etc/redis-ca"
_CONFIG_FOLDER = "/etc/redis"
_SECRET_FOLDER = "/etc/redis-secret"  # noqa: S105 a folder


def configuration(maxmemory_bytes: int) -> str:
    """redis.conf: what was acknowledged outlives the process; a full Redis refuses rather than forgets."""
    lines = [
        "bind * -::*",
        f"port {PORT}",
        "protected-mode no",  # it asks for a password and a NetworkPolicy stands before it
        "dir /data",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',  # the append-only file is enough, and each snapshot would fork
        f"maxmemory {maxmemory_bytes}",
        "maxmemory-policy noeviction",
        "tcp-keepalive 60",
        # A task's hash holds its payload: below this size the whole of it stays one compact allocation.
        # Measured beyond the payload, compact and not: 204 and 661 bytes a task at 300 bytes of it, 401
        # and 649 at 1,000, 312 and 817 at 8,000; a write costs 0.5 µs more at 8,000, a read the same.
        "hash-max-listpack-value 8192",
        f"include {_SECRET_FOLDER}/auth.conf",
    ]
    return "\n".join(lines) + "\n"


class Redis(pulumi.ComponentResource):
    """`.url` holds no password; `.password_secret` names the Secret that does, None where there is none.

    `.variables`, `.login`, `.volumes` and `.mounts` are what a pod needs to reach this Redis.
    """

    url: str
    password_secret: str | None = None
    _ca: str | None = None

    def __init__(
        self,
        name: str,
        settings: Settings,
        namespace: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("task-queue:infra:Redis", name, None, opts)
        self._settings, self._namespace = settings, namespace
        self._child = pulumi.ResourceOptions(parent=self)
        external = settings.redis.external
        self.url = external.url if external else f"redis://{SERVICE}:{PORT}/0"
        self.password_secret = self._passwords()
        if external and external.ca_certificate:
            data = {_CA_KEY: external.ca_certificate}
            self._ca, _ = config_map("redis-ca", APP, namespace, data, parent=self)
        if external is None:
            self._service()
            self._stateful_set()
        self.register_outputs({})

    @property
    def variables(self) -> dict[str, str]:
        """The clients' settings that are no secrets."""
        external = self._settings.redis.external
        found = {
            "REDIS_URL": self.url,
            "REDIS_USERNAME": external.username if external else None,
            "REDIS_SENTINEL_USERNAME": external.sentinel_username if external else None,
            "REDIS_CA_FILE": f"{_CA_FOLDER}/{_CA_KEY}" if self._ca else None,
            "REDIS_REQUIRE_AOF": str(external is None or external.require_aof).lower(),
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def login(self) -> list[core.EnvVarArgs]:
        """The clients' passwords, from the Secret."""
        own = self._settings
        names = {
            "REDIS_PASSWORD": own.redis_password and PASSWORD_KEY,
            "REDIS_SENTINEL_PASSWORD": own.sentinel_password and _SENTINEL_KEY,
        }
        secret_name = self.password_secret
        return [pods.from_secret(n, secret_name, str(key)) for n, key in names.items() if secret_name and key]

    @property
    def volumes(self) -> list[core.VolumeArgs]:
        """The certificates of a private authority."""
        if self._ca is None:
            return []
        return [core.VolumeArgs(name="redis-ca", config_map=core.ConfigMapVolumeSourceArgs(name=self._ca))]

    @property
    def mounts(self) -> list[core.VolumeMountArgs]:
        """Where the clients find them."""
        mount = core.VolumeMountArgs(name="redis-ca", mount_path=_CA_FOLDER, read_only=True)
        return [mount] if self._ca else []

    def _passwords(self) -> str | None:
        """The Secret's name; None where there are no passwords."""
        own, of_sentinels = self._settings.redis_password, self._settings.sentinel_password
        data: dict[str, str] = {}
        if own:
            password = own.get_secret_value()
            data |= {PASSWORD_KEY: password, "auth.conf": f'requirepass "{password}"\n'}
        if of_sentinels:
            data[_SENTINEL_KEY] = of_sentinels.get_secret_value()
        if not data:
            return None
        key = data.get(PASSWORD_KEY) or data[_SENTINEL_KEY]
        return secret("redis-password", APP, self._namespace, data, key=key, parent=self)[0]

    def _service(self) -> None:
        # Not headless: the address outlives the pod, so that no client waits for a cached name.
        core.Service(
            "redis-service",
            metadata=metadata(SERVICE, APP, self._namespace),
            spec=core.ServiceSpecArgs(
                type="ClusterIP",
                selector={"app": APP},
                ports=[core.ServicePortArgs(name="redis", port=PORT, target_port="redis", protocol="TCP")],
            ),
            opts=self._child,
        )

    def _stateful_set(self) -> None:
        own, redis = self._namespace, self._settings.redis
        pods.service_account(APP, own, parent=self)
        conf = {"redis.conf": configuration(quantities.to_bytes(redis.maxmemory))}
        config, _ = config_map("redis-config", APP, own, conf, parent=self)
        apps.StatefulSet(
            "redis",
            metadata=metadata(APP, APP, own),
            spec=apps.StatefulSetSpecArgs(
                service_name=SERVICE,
                replicas=1,
                selector=selector(APP),
                template=core.PodTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(labels=labels(APP)), spec=self._pod(config)
                ),
                volume_claim_templates=[self._claim()],
            ),
            opts=pulumi.ResourceOptions(parent=self, protect=redis.protect),
        )

    def _pod(self, config: str) -> core.PodSpecArgs:
        group_only = 0o440
        return core.PodSpecArgs(
            service_account_name=APP,
            automount_service_account_token=False,
            enable_service_links=False,
            security_context=pods.pod_security(owns_volumes=True),
            image_pull_secrets=pods.pull_secrets(self._settings.images.pull_secrets),
            termination_grace_period_seconds=60,
            containers=[self._container()],
            volumes=[
                core.VolumeArgs(name="config", config_map=core.ConfigMapVolumeSourceArgs(name=config)),
                core.VolumeArgs(
                    name="secret",
                    secret=core.SecretVolumeSourceArgs(
                        secret_name=self.password_secret, default_mode=group_only
                    ),
                ),
            ],
        )

    def _container(self) -> core.ContainerArgs:
        return core.ContainerArgs(
            name="redis",
            image=self._settings.redis.image,
            command=["redis-server", f"{_CONFIG_FOLDER}/redis.conf"],
            ports=[core.ContainerPortArgs(name="redis", container_port=PORT)],
            env=[pods.from_secret("REDISCLI_AUTH", str(self.password_secret), PASSWORD_KEY)],
            resources=pods.requirements(self._settings.redis.resources),
            security_context=pods.container_security(),
            volume_mounts=[
                core.VolumeMountArgs(name="data", mount_path="/data"),
                core.VolumeMountArgs(name="config", mount_path=_CONFIG_FOLDER, read_only=True),
                core.VolumeMountArgs(name="secret", mount_path=_SECRET_FOLDER, read_only=True),
            ],
            # By TCP: while a long append-only file loads, Redis answers only LOADING, and must not be killed.
            startup_probe=_tcp(period_seconds=1, failure_threshold=300),
            liveness_probe=_tcp(period_seconds=10, failure_threshold=6),
            # -e: an error reply, such as LOADING, is a failure.
            readiness_probe=core.ProbeArgs(
                exec_=core.ExecActionArgs(command=["redis-cli", "-e", "ping"]),
                period_seconds=5,
                timeout_seconds=5,
                failure_threshold=2,
            ),
        )

    def _claim(self) -> core.PersistentVolumeClaimArgs:
        redis = self._settings.redis
        return core.PersistentVolumeClaimArgs(
            metadata=meta.ObjectMetaArgs(name="data", labels=labels(APP)),
            spec=core.PersistentVolumeClaimSpecArgs(
                access_modes=["ReadWriteOnce"],
                storage_class_name=redis.storage_class,
                resources=core.VolumeResourceRequirementsArgs(requests={"storage": redis.storage_size}),
            ),
        )


def _tcp(period_seconds: int, failure_threshold: int) -> core.ProbeArgs:
    return core.ProbeArgs(
        tcp_socket=core.TCPSocketActionArgs(port="redis"),
        period_seconds=period_seconds,
        timeout_seconds=5,
        failure_threshold=failure_threshold,
    )
