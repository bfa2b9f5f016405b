"""Names, addresses, ports and versions of the embedded cluster: one place for every number."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Network:
    """Addresses of the node, its pods and its Services; nothing here leaves the machine."""

    node_ip: str = "10.244.255.1"
    node_bridge: str = "tq-node0"
    pod_bridge: str = "tq-pods0"
    pod_cidr: str = "10.244.0.0/24"
    service_cidr: str = "10.96.0.0/16"
    kubernetes_ip: str = "10.96.0.1"
    dns_ip: str = "10.96.0.10"
    domain: str = "cluster.local"
    name: str = "task-queue-pods"

    def ranges(self) -> tuple[IPv4Network, ...]:
        """The ranges that no other route of the machine may overlap."""
        return (IPv4Network(self.pod_cidr), IPv4Network(self.service_cidr), IPv4Network(f"{self.node_ip}/32"))


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Every TCP port that a component listens on. Those of etcd, DNS, metrics and the registry are moved
    off the usual ones, which other software may hold; the registry's usual 5000 is the API's."""

    api_server: int = 16443
    etcd: int = 12379
    etcd_peer: int = 12380
    registry: int = 5001
    dns: int = 10053
    dns_ready: int = 18181
    metrics: int = 14443
    kubelet: int = 10250
    kubelet_health: int = 10248
    proxy_metrics: int = 10249
    proxy_health: int = 10256
    controllers: int = 10257
    scheduler: int = 10259

    def by_component(self) -> dict[str, tuple[int, ...]]:
        """Component to its ports."""
        return {
            "etcd": (self.etcd, self.etcd_peer),
            "kube-apiserver": (self.api_server,),
            "registry": (self.registry,),
            "coredns": (self.dns, self.dns_ready),
            "metrics-server": (self.metrics,),
            "kubelet": (self.kubelet, self.kubelet_health),
            "kube-proxy": (self.proxy_metrics, self.proxy_health),
            "kube-controller-manager": (self.controllers,),
            "kube-scheduler": (self.scheduler,),
        }


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one embedded cluster is; the defaults are the only ones in use outside tests."""

    kubernetes_version: str = "v1.35.4"
    node_name: str = "task-queue-node"
    context: str = "task-queue-local"
    storage_class: str = "standard"
    provisioner: str = "task-queue.local/directory"
    pause_image: str = "localhost/task-queue/pause:1"
    network: Network = field(default_factory=Network)
    ports: Ports = field(default_factory=Ports)
    min_free_gib: int = 6  # Go's caches while it builds about 4, programs 0.7, images 1
    min_memory_mib: int = 3000  # the components 1083 MiB measured when idle, the local stack about as much
    stop_grace_s: float = 5.0  # containers after SIGTERM; the state of a stopped cluster is kept anyway

    @property
    def registry(self) -> str:
        """host:port of the registry, as image references name it."""
        return f"127.0.0.1:{self.ports.registry}"

    @property
    def api_url(self) -> str:
        """Where the API server answers: an address of this machine that no other one has a route to."""
        return f"https://{self.network.node_ip}:{self.ports.api_server}"


# Debian package by the program (or file) that it brings.
PACKAGES = MappingProxyType(
    {
        "containerd": "containerd",
        "ctr": "containerd",
        "runc": "runc",
        "/usr/lib/cni/bridge": "containernetworking-plugins",
        "etcd": "etcd-server",
        "iptables": "iptables",
        "ip": "iproute2",
        "conntrack": "conntrack",
        "buildah": "buildah",
        "docker-registry": "docker-registry",
        "mmdebstrap": "mmdebstrap",
    }
)
