"""The sections of a stack's settings: their keys, types, defaults, and the checks inside each."""

from enum import StrEnum
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from infra import quantities
from infra.blocks import ImageRef, Ingress, LogLevel, Port, Resources, Seconds, Section, Service
from infra.quantities import Memory


class Transport(StrEnum):
    """How workers deliver e-mail."""

    SIMULATE = "simulate"
    SMTP = "smtp"


class Tls(StrEnum):
    """How the connection to the SMTP server is secured."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class Images(Section):
    """Where images come from: built and pushed as part of the stack, or refs given."""

    registry: str | None = Field(
        default=None, description="host and path to build for and push to, as `ghcr.io/acme`"
    )
    pull_registry: str | None = Field(
        default=None, description="the same registry as the nodes name it, where that differs"
    )
    registry_username: str | None = Field(
        default=None, description="login to push with; the password is `registryPassword`"
    )
    pull_secrets: tuple[str, ...] = Field(default=(), description="Secrets that the nodes pull with")
    platforms: tuple[str, ...] = Field(
        default=(), description="platforms to build for; empty: the builder's own"
    )
    build_on_preview: bool = Field(default=False, description="also build in `pulumi preview`")
    python_image: ImageRef | None = Field(
        default=None, description="base of API and worker, if not the default"
    )
    go_image: ImageRef | None = Field(default=None, description="base of the mail server, if not the default")
    api: ImageRef | None = Field(default=None, description="the API's image; given, it is not built")
    worker: ImageRef | None = Field(default=None, description="the worker's image; given, it is not built")
    mail: ImageRef | None = Field(default=None, description="the mail server's image; given, it is not built")

    @field_validator("registry", "pull_registry")
    @classmethod
    def _host_first(cls, registry: str | None) -> str | None:
        # Only a first part with a dot, a port or the name localhost is a host; else Docker Hub is
        # meant, and the provider answers a ref without digest for a name that is not canonical.
        host = (registry or "").split("/")[0]
        if registry is not None and not ("." in host or ":" in host or host == "localhost"):
            raise ValueError(f"{registry!r} does not begin with a host, as in docker.io/acme")
        return registry and registry.rstrip("/")


class Api(Section):
    """The HTTP API."""

    replicas: int = Field(default=3, ge=1, le=100, description="number of API pods")
    resources: Resources = Resources()
    service: Service = Service()
    ingress: Ingress | None = None
    shutdown_grace_seconds: Seconds = Field(default=20, description="time for open requests when a pod stops")
    pre_stop_seconds: Seconds = Field(
        default=5, description="a stopping pod still serves that long, until no one new calls it"
    )
    drain_seconds: Seconds = Field(default=5, description="then, kept-alive connections are served that long")
    max_body_bytes: int = Field(default=1048576, ge=1024, description="largest request body")
    max_batch_bytes: int = Field(default=16777216, ge=1024, description="largest body of POST /tasks/batch")
    durability: Literal["memory", "fsync"] = Field(
        default="memory", description="when a POST that names none is answered; fsync: it is on Redis' disk"
    )
    max_queue_length: int = Field(
        default=0, ge=0, description="waiting tasks of a queue at which more are refused; 0: any"
    )
    log_level: LogLevel = Field(default="info", description="least severe level that is logged")


class Autoscaling(Section):
    """The worker's HorizontalPodAutoscaler."""

    min_replicas: int = Field(default=2, ge=1, le=1000, description="fewest workers")
    max_replicas: int = Field(default=10, ge=1, le=1000, description="most workers")
    cpu_percent: int = Field(
        default=70, ge=1, le=1000, description="target: mean CPU use in percent of the request"
    )
    up_window_seconds: Seconds = Field(
        default=0, description="how long load must last before workers are added"
    )
    up_percent: int = Field(default=100, ge=1, description="most workers added in a period, in percent")
    up_pods: int = Field(
        default=2, ge=1, description="most workers added in a period, in pods; the larger of both counts"
    )
    up_period_seconds: int = Field(default=15, ge=1, le=1800, description="period of adding")
    down_window_seconds: Seconds = Field(
        default=300, description="how long load must be away before workers are removed"
    )
    down_percent: int = Field(
        default=50, ge=1, le=100, description="most workers removed in a period, in percent"
    )
    down_period_seconds: int = Field(default=60, ge=1, le=1800, description="period of removing")

    @field_validator("max_replicas")
    @classmethod
    def _max_from_min(cls, most: int, info: ValidationInfo) -> int:
        least = info.data.get("min_replicas", most)
        if most < least:
            raise ValueError(f"{most} is less than minReplicas, {least}")
        return most


class Worker(Section):
    """The workers that deliver e-mail."""

    concurrency: int = Field(
        default=10, ge=1, le=1000, description="tasks that a worker has under way at once"
    )
    resources: Resources = Resources()
    autoscaling: Autoscaling = Autoscaling()
    shutdown_grace_seconds: Seconds = Field(
        default=30, description="time to finish what is under way when a pod stops"
    )
    retention_seconds: int = Field(default=86400, ge=1, description="how long a finished task is kept")
    dead_retention_seconds: int = Field(
        default=604800, ge=1, description="how long a failed or cancelled task is kept"
    )
    retention_count: int = Field(
        default=0, ge=0, description="finished tasks kept of each way to end; 0: any number"
    )
    poison_kills: int = Field(
        default=3, ge=0, description="lost workers after which a task fails, the last time alone; 0: never"
    )
    max_result_bytes: int = Field(default=65536, ge=64, description="largest result that is kept")
    log_level: LogLevel = Field(default="info", description="least severe level that is logged")


class RedisForm(StrEnum):
    """How an external Redis is found, by the scheme of its URL."""

    SINGLE = ""
    SENTINEL = "+sentinel"
    CLUSTER = "+cluster"


class ExternalRedis(Section):
    """A Redis outside this stack. Passwords: `redisPassword`, and `sentinelPassword` of its sentinels."""

    url: str = Field(
        description="redis://host:port/db, redis+sentinel://host:port,.../service/db or "
        "redis+cluster://host:port,...; rediss for TLS; without a password"
    )
    username: str | None = Field(default=None, description="user to log in as; empty: the default one")
    sentinel_username: str | None = Field(default=None, description="user to log in at the sentinels as")
    ca_certificate: str | None = Field(
        default=None, description="certificates (PEM) of a private authority, for TLS"
    )
    require_aof: bool = Field(default=False, description="refuse to start where it keeps no append-only file")
    ports: tuple[Port, ...] = Field(
        default=(),
        description="further ports, for the NetworkPolicy: of nodes that the URL does not name",
    )
    cidrs: tuple[str, ...] = Field(
        default=(), description="networks (CIDR) it is in, for the NetworkPolicy; empty: any"
    )

    @field_validator("url")
    @classmethod
    def _a_redis_url_without_password(cls, url: str) -> str:
        scheme, hosts, path = _parts_of(url)
        form = scheme.removeprefix("rediss" if scheme.startswith("rediss") else "redis")
        if (
            not scheme.startswith("redis")
            or form not in tuple(RedisForm)
            or not all(_named(h) for h in hosts)
        ):
            raise ValueError(
                "it must be a redis://, redis+sentinel:// or redis+cluster:// URL, or rediss, with a host"
            )
        if ":" in url.partition("://")[2].rpartition("@")[0]:
            raise ValueError("it holds a password: set that as the secret redisPassword instead")
        if form == RedisForm.SENTINEL and not path.split("/")[0]:
            raise ValueError(
                "it must name the service that the sentinels watch: redis+sentinel://host/service"
            )
        return url

    @field_validator("ca_certificate")
    @classmethod
    def _certificates_for_tls(cls, pem: str | None, info: ValidationInfo) -> str | None:
        if pem is not None and "-----BEGIN CERTIFICATE-----" not in pem:
            raise ValueError("it holds no certificate in PEM")
        if pem is not None and not str(info.data.get("url", "rediss")).startswith("rediss"):
            raise ValueError("it is of no use without TLS: let url begin with rediss")
        return pem

    @property
    def form(self) -> RedisForm:
        """How it is found."""
        scheme, _, _ = _parts_of(self.url)
        return RedisForm(scheme.removeprefix("rediss" if scheme.startswith("rediss") else "redis"))

    @property
    def reached_ports(self) -> tuple[int, ...]:
        """The ports that workers and API connect to: those in the URL, and those of the nodes behind it."""
        usual = 26379 if self.form == RedisForm.SENTINEL else 6379
        _, hosts, _ = _parts_of(self.url)
        named = [urlsplit(f"//{host}").port or usual for host in hosts]
        behind = [6379] if self.form == RedisForm.SENTINEL and not self.ports else list(self.ports)
        return tuple(dict.fromkeys([*named, *behind]))


def _parts_of(url: str) -> tuple[str, list[str], str]:
    """Scheme, hosts with their ports, and the path without its first slash."""
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    return scheme, place.rpartition("@")[2].split(","), path


def _named(host: str) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


# Redis forks to rewrite its append-only file; pages written meanwhile are held twice.
MOST_OF_THE_LIMIT = 0.6


class Redis(Section):
    """The store: a StatefulSet of this stack, or an external one."""

    image: ImageRef = Field(default="docker.io/library/redis:8.2", description="image of the StatefulSet")
    resources: Resources = Resources()
    maxmemory: Memory = Field(default="144Mi", description="at most 60 % of the memory limit, as Redis forks")
    storage_size: Memory = Field(default="1Gi", description="size of the claim")
    storage_class: str | None = Field(default=None, description="storage class; empty: the cluster's default")
    protect: bool = Field(default=False, description="refuse to delete Redis and the namespace it is in")
    external: ExternalRedis | None = None

    @field_validator("maxmemory")
    @classmethod
    def _leaves_room_to_fork(cls, maxmemory: str, info: ValidationInfo) -> str:
        resources = info.data.get("resources")
        if resources:
            most = int(quantities.to_bytes(resources.limits.memory) * MOST_OF_THE_LIMIT)
            if quantities.to_bytes(maxmemory) > most:
                raise ValueError(
                    f"{maxmemory} is more than 60 % of resources.limits.memory, {resources.limits.memory} "
                    f"(at most {most // 1024**2}Mi): Redis needs the rest when it forks"
                )
        return maxmemory


class Smtp(Section):
    """The SMTP server that workers deliver to; the login's password is `smtpPassword`."""

    host: str = Field(min_length=1, description="host name of the SMTP server")
    port: Port = Field(default=587, description="port of the SMTP server")
    tls: Tls = Field(default=Tls.STARTTLS, description="none, starttls or implicit")
    verify: bool = Field(default=True, description="check the server's certificate")
    username: str | None = Field(default=None, description="login; empty: none")
    timeout_seconds: int = Field(default=30, ge=1, le=600, description="longest wait for an answer")
    pool_size: int = Field(default=10, ge=1, le=1000, description="connections that a worker keeps")
    cidrs: tuple[str, ...] = Field(
        default=(), description="networks (CIDR) it is in, for the NetworkPolicy; empty: any"
    )

    @field_validator("username")
    @classmethod
    def _no_login_in_the_clear(cls, username: str | None, info: ValidationInfo) -> str | None:
        if username and info.data.get("tls") == Tls.NONE:
            raise ValueError("a login needs tls: starttls or implicit")
        return username


class Email(Section):
    """How e-mail is delivered; a stack must name its transport."""

    transport: Transport = Field(description="simulate (waits 1 to 3 s, sends nothing) or smtp")
    sender: str = Field(
        default="task-queue@example.com", pattern=r"^[^\s@<>]+@[^\s@<>]+$", description="From address"
    )
    smtp: Smtp | None = None

    @field_validator("smtp")
    @classmethod
    def _smtp_needs_a_server(cls, smtp: Smtp | None, info: ValidationInfo) -> Smtp | None:
        if smtp is None and info.data.get("transport") == Transport.SMTP:
            raise ValueError("the transport smtp needs it: set at least smtp.host")
        return smtp


class Mail(Section):
    """A mail server that keeps what it takes and delivers nothing: for local stacks and tests."""

    enabled: bool = Field(default=False, description="run the mail server")
    resources: Resources = Resources()
    service: Service = Service.model_validate({"type": "ClusterIP"})
