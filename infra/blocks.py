"""What the sections of a stack's settings are made of: their base, ranges, resources, Services."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from infra import quantities
from infra.quantities import Cpu, Memory

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[int, Field(ge=0, le=3600)]
DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
_QUEUE = r"[a-z0-9][a-z0-9_-]{0,62}"
QueueNames = Annotated[str, Field(pattern=rf"^{_QUEUE}(,{_QUEUE})*$")]
LogLevel = Literal["debug", "info", "warning", "error"]


class ServiceType(StrEnum):
    """How Kubernetes exposes a Service."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class Section(BaseModel):
    """Frozen, camelCase in the stack file, no unknown keys; defaults are checked like given values."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_default=True,
        hide_input_in_errors=True,
    )


def _image_reference(ref: str) -> str:
    name, _, digest = ref.partition("@")
    tagged = ":" in name.rsplit("/", 1)[-1]
    if any(c.isspace() for c in ref) or not ref[:1].isalnum() or not (tagged or digest.startswith("sha256:")):
        raise ValueError(f"{ref!r} is not an image reference with a tag or a sha256 digest")
    return ref


ImageRef = Annotated[str, AfterValidator(_image_reference)]


class Requests(Section):
    """What the scheduler sets aside for a container; CPU targets are percentages of it."""

    cpu: Cpu = Field(default="100m", description="CPU set aside for each container")
    memory: Memory = Field(default="128Mi", description="memory set aside for each container")


class Limits(Section):
    """What a container may use at the most."""

    cpu: Cpu = Field(default="500m", description="CPU that a container may use at the most")
    memory: Memory = Field(default="256Mi", description="memory above which a container is killed")


class Resources(Section):
    """Requests and limits of a container."""

    requests: Requests = Requests()
    limits: Limits = Limits()

    @field_validator("limits")
    @classmethod
    def _requests_fit(cls, limits: Limits, info: ValidationInfo) -> Limits:
        requests = info.data.get("requests")
        for item in ("cpu", "memory") if requests else ():
            asked, most = getattr(requests, item), getattr(limits, item)
            if quantities.parse(asked) > quantities.parse(most):
                raise ValueError(f"{item}: the request {asked} is more than the limit {most}")
        return limits


class Service(Section):
    """How a Service is reached from outside the cluster."""

    type: ServiceType = Field(
        default=ServiceType.LOAD_BALANCER, description="ClusterIP, NodePort or LoadBalancer"
    )
    node_port: Port | None = Field(
        default=None, description="port on every node; empty: Kubernetes picks one"
    )
    node_address: str = Field(
        default="127.0.0.1", description="address of a node, for the printed URL of a NodePort"
    )
    annotations: dict[str, str] = Field(default_factory=dict, description="for the cloud's load balancer")
    source_ranges: tuple[str, ...] = Field(
        default=(), description="networks (CIDR) that the load balancer lets in"
    )

    @field_validator("node_port")
    @classmethod
    def _only_where_it_means_something(cls, port: int | None, info: ValidationInfo) -> int | None:
        if port is not None and info.data.get("type") == ServiceType.CLUSTER_IP:
            raise ValueError("a ClusterIP Service has no node port")
        return port


class Ingress(Section):
    """A host name in front of the API, with TLS."""

    host: str = Field(description="host name that the API answers to")
    class_name: str | None = Field(default=None, description="ingress class; empty: the cluster's default")
    tls_secret: str | None = Field(default=None, description="Secret with the certificate; empty: no TLS")
    annotations: dict[str, str] = Field(
        default_factory=dict, description="for the ingress controller, cert-manager"
    )


def section_of(annotation: object) -> type[Section] | None:
    """The Section class in a field's type, also in `Section | None`; None for plain values."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None
