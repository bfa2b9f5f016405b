"""What is started, with which arguments, and how each component says that it is ready."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local.builds import NODE_PROGRAMS
from infra.local.host import tool_path
from infra.local.paths import Paths
from infra.local.settings import Settings

# What is handed on of the caller's environment; the rest would make a component depend on who ran `up`.
KEPT_VARIABLES = ("HOME", "LANG", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy")


@dataclass(frozen=True, kw_only=True)
class Component:
    """A process of the cluster. `health` is a URL that answers 200, or `unix:` and a socket's path.

    `files` are the configuration files (under `config/`) that it reads only when it starts.
    """

    name: str
    argv: tuple[str, ...]
    health: str
    files: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()

    def spec(self, texts: Mapping[str, str], fingerprint: str) -> str:
        """A hash of all that it is started with: one that runs with another is started anew."""
        content = [self.argv, self.env, [texts[name] for name in self.files], fingerprint]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]

    def environment(self) -> dict[str, str]:
        """The process's environment."""
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        return {**kept, "PATH": tool_path(), **dict(self.env)}


def _flags(values: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(f"--{name}={value}" for name, value in values.items())


def all_components(settings: Settings, paths: Paths, programs: Mapping[str, Path]) -> dict[str, Component]:
    """Every component by name, in the order in which they start."""
    components = (
        containerd(paths),
        registry(settings, paths),
        etcd(settings, paths),
        api_server(settings, paths, programs),
        controller_manager(settings, paths, programs),
        scheduler(settings, paths, programs),
        kubelet(settings, paths, programs),
        kube_proxy(settings, paths, programs),
        coredns(settings, paths, programs),
        metrics_server(settings, paths, programs),
        volumes(settings, paths, programs),
    )
    return {component.name: component for component in components}


def described(settings: Settings, paths: Paths) -> dict[str, Component]:
    """Every component, to learn names and health addresses from: where the programs are is made up."""
    programs = (*NODE_PROGRAMS, "coredns", "metrics-server", "volumes")
    return all_components(settings, paths, dict.fromkeys(programs, paths.cache))


def containerd(paths: Paths) -> Component:
    return Component(
        name="containerd",
        argv=("containerd", "--config", str(paths.config / "containerd.toml")),
        health=f"unix:{paths.containerd_socket}",
        files=("containerd.toml", "cni/10-task-queue.conflist"),
    )


def registry(settings: Settings, paths: Paths) -> Component:
    return Component(
        name="registry",
        argv=("docker-registry", "serve", str(paths.config / "registry.json")),
        health=f"http://{settings.registry}/v2/",
        files=("registry.json",),
    )


def etcd(settings: Settings, paths: Paths) -> Component:
    pki, ports = paths.pki, settings.ports
    client, peer = f"https://127.0.0.1:{ports.etcd}", f"https://127.0.0.1:{ports.etcd_peer}"
    flags = {
        "name": "default",
        "data-dir": paths.state / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        # Any user of the machine can open the port: without certificates that would be root for all.
        "client-cert-auth": "true",
        "trusted-ca-file": f"{pki}/ca.crt",
        "cert-file": f"{pki}/etcd.crt",
        "key-file": f"{pki}/etcd.key",
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": f"{pki}/ca.crt",
        "peer-cert-file": f"{pki}/etcd.crt",
        "peer-key-file": f"{pki}/etcd.key",
        "unsafe-no-fsync": "true",  # a cluster to throw away: a power cut may cost it
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "5m",
        "quota-backend-bytes": 2 * 1024**3,
        "logger": "zap",
        "log-level": "warn",
    }
    return Component(name="etcd", argv=("etcd", *_flags(flags)), health=f"tcp:127.0.0.1:{ports.etcd}")


def api_server(settings: Settings, paths: Paths, programs: Mapping[str, Path]) -> Component:
    pki, net = paths.pki, settings.network
    flags = {
        "advertise-address": net.node_ip,
        "bind-address": net.node_ip,
        "secure-port": settings.ports.api_server,
        "etcd-servers": f"https://127.0.0.1:{settings.ports.etcd}",
        "etcd-cafile": f"{pki}/ca.crt",
        "etcd-certfile": f"{pki}/apiserver.crt",
        "etcd-keyfile": f"{pki}/apiserver.key",
        "service-cluster-ip-range": net.service_cidr,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "client-ca-file": f"{pki}/ca.crt",
        "tls-cert-file": f"{pki}/apiserver.crt",
        "tls-private-key-file": f"{pki}/apiserver.key",
        "kubelet-certificate-authority": f"{pki}/ca.crt",
        "kubelet-client-certificate": f"{pki}/apiserver-kubelet.crt",
        "kubelet-client-key": f"{pki}/apiserver-kubelet.key",
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": f"https://kubernetes.default.svc.{net.domain}",
        "service-account-key-file": f"{pki}/service-account.pub",
        "service-account-signing-key-file": f"{pki}/service-account.key",
        "requestheader-client-ca-file": f"{pki}/front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": f"{pki}/front-proxy.crt",
        "proxy-client-key-file": f"{pki}/front-proxy.key",
        # metrics-server is reached at its address, not through kube-proxy's rules.
        "enable-aggregator-routing": "true",
        "profiling": "false",
    }
    return Component(
        name="kube-apiserver",
        argv=(str(programs["kube-apiserver"]), *_flags(flags)),
        health=f"{settings.api_url}/readyz",
    )


def controller_manager(settings: Settings, paths: Paths, programs: Mapping[str, Path]) -> Component:
    kubeconfig = paths.config / "controller-manager.kubeconfig"
    flags = {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": "127.0.0.1",
        "secure-port": settings.ports.controllers,
        # One of each: with an election, a machine too busy to renew its lease stops its own controllers.
        "leader-elect": "false",
        "root-ca-file": f"{paths.pki}/ca.crt",
        "service-account-private-key-file": f"{paths.pki}/service-account.key",
        "use-service-account-credentials": "true",
        "profiling": "false",
    }
    return Component(
        name="kube-controller-manager",
        argv=(str(programs["kube-controller-manager"]), *_flags(flags)),
        health=f"https://127.0.0.1:{settings.ports.controllers}/healthz",
        files=("controller-manager.kubeconfig",),
    )


def scheduler(settings: Settings, paths: Paths, programs: Mapping[str, Path]) -> Component:
    kubeconfig = paths.config / "scheduler.kubeconfig"
    flags = {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": "127.0.0.1",
        "secure-port": settings.ports.scheduler,
        "leader-elect": "false",
        "profiling": "false",
    }
    return Component(
        name="kube-scheduler",
        argv=(str(programs["kube-scheduler"]), *_flags(flags)),
        health=f"https://127.0.0.1:{settings.ports.scheduler}/healthz",
        files=("scheduler.kubeconfig",),
    )


def kubelet(settings: Settings, paths: Paths, programs: Mapping[str, Path]) -> Component:
    flags = {
        "config": paths.config / "kubelet.json",
        "kubeconfig": paths.config / "kubelet.kubeconfig",
        "root-dir": paths.state / "kubelet",
        "hostname-override": settings.node_name,
        "node-ip": settings.network.node_ip,
    }
    return Component(
        name="kubelet",
        argv=(str(programs["kubelet"]), *_flags(flags)),
        health=f"http://127.0.0.1:{settings.ports.kubelet_health}/healthz",
        files=("kubelet.json", "kubelet.kubeconfig"),
    )


def kube_proxy(settings: Settings, paths: Paths, programs: Mapping[str, Path]) -> Component:
    return Component(
        name="kube-proxy",
        argv=(str(programs["kube-proxy"]), *_flags({"config": paths.config / "kube-proxy.json"})),
        health=f"http://127.0.0.1:{settings.ports.proxy_health}/livez",
        files=("kube-proxy.json", "kube-proxy.kubeconfig"),
    )


def coredns(settings: Settings, paths: Paths, programs: Mapping[str, Path]) -> Component:
    return Component(
        name="coredns",
        argv=(str(programs["coredns"]), "-conf", str(paths.config / "Corefile")),
        health=f"http://127.0.0.1:{settings.ports.dns_ready}/ready",
        files=("Corefile", "coredns.kubeconfig"),
    )


def metrics_server(settings: Settings, paths: Paths, programs: Mapping[str, Path]) -> Component:
    kubeconfig, pki = paths.config / "metrics-server.kubeconfig", paths.pki
    flags = {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": settings.network.node_ip,
        "secure-port": settings.ports.metrics,
        "tls-cert-file": f"{pki}/metrics-server.crt",
        "tls-private-key-file": f"{pki}/metrics-server.key",
        "kubelet-certificate-authority": f"{pki}/ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        "metric-resolution": "10s",  # the least it allows; the autoscaler sees load sooner
        "kubelet-request-timeout": "5s",
    }
    return Component(
        name="metrics-server",
        argv=(str(programs["metrics-server"]), *_flags(flags)),
        health=f"https://{settings.network.node_ip}:{settings.ports.metrics}/livez",
        files=("metrics-server.kubeconfig",),
    )


def volumes(settings: Settings, paths: Paths, programs: Mapping[str, Path]) -> Component:
    flags = {
        "kubeconfig": paths.config / "volumes.kubeconfig",
        "provisioner": settings.provisioner,
        "root": paths.state / "volumes",
    }
    return Component(
        name="volumes",
        argv=(str(programs["volumes"]), *_flags(flags)),
        health="",  # it listens nowhere: that it runs is all there is to see
        files=("volumes.kubeconfig",),
    )
