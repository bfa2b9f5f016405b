"""Render the components' configuration files: settings in, file texts out; nothing is written here."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from infra.local.host import Host
from infra.local.paths import Paths
from infra.local.settings import Settings

# Users of the kubeconfigs by file name; each has a certificate of that name.
KUBECONFIG_USERS = (
    "controller-manager",
    "scheduler",
    "kube-proxy",
    "kubelet",
    "metrics-server",
    "coredns",
    "volumes",
)


def files(settings: Settings, paths: Paths, host: Host) -> dict[str, str]:
    """Every configuration file: its path under `config/` and its text."""
    rendered = {
        "containerd.toml": containerd(settings, paths, host),
        f"certs.d/{settings.registry}/hosts.toml": registry_hosts(settings, f"http://{settings.registry}"),
        # `redis:8` in any manifest means the same image as 127.0.0.1:5001/library/redis:8.
        "certs.d/docker.io/hosts.toml": registry_hosts(settings, "https://registry-1.docker.io"),
        "cni/10-task-queue.conflist": cni(settings, paths),
        "kubelet.json": kubelet(settings, paths, host),
        "kube-proxy.json": kube_proxy(settings, paths),
        "registry.json": registry(settings, paths),
        "Corefile": corefile(settings, paths, host),
    }
    for user in KUBECONFIG_USERS:
        rendered[f"{user}.kubeconfig"] = kubeconfig(settings, paths.pki, user)
    return rendered


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, indent=1) + "\n"


def containerd(settings: Settings, paths: Paths, host: Host) -> str:
    """containerd with folders and a socket of its own, beside any other containerd of the machine."""
    root = paths.state / "containerd"
    systemd = str(uses_systemd(host)).lower()
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{root}/root"
state = "{root}/state"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
address = "{paths.containerd_socket}"

[{cri}]
sandbox_image = "{settings.pause_image}"
# Without CAP_SYS_RESOURCE a container cannot be given a lower score than ours.
restrict_oom_score_adj = {str(not host.can_raise_oom_score).lower()}
netns_mounts_under_state_dir = true

[{cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{paths.config}/cni"

[{cri}.containerd]
snapshotter = "{host.snapshotter}"
discard_unpacked_layers = true

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = {systemd}
Root = "{root}/runc"

[{cri}.registry]
config_path = "{paths.config}/certs.d"
"""


def uses_systemd(host: Host) -> bool:
    """Whether systemd owns the control groups: only in the unified hierarchy of a machine it runs."""
    return host.systemd and host.cgroup_version == 2


def registry_hosts(settings: Settings, upstream: str) -> str:
    """Pull from the local registry first, over plain HTTP."""
    return (
        f'server = "{upstream}"\n\n[host."http://{settings.registry}"]\ncapabilities = ["pull", "resolve"]\n'
    )


def cni(settings: Settings, paths: Paths) -> str:
    """Pods on one bridge. No portmap: a hostPort would listen on every address of the machine."""
    net = settings.network
    bridge = {
        "type": "bridge",
        "bridge": net.pod_bridge,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,  # a pod that calls its own Service
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": net.pod_cidr}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(paths.state / "cni"),
        },
    }
    return _json({"cniVersion": "1.0.0", "name": net.name, "plugins": [bridge]})


def kubelet(settings: Settings, paths: Paths, host: Host) -> str:
    """The kubelet, listening on the node's own address, that puts up with a full disk and swap."""
    net, ports, pki = settings.network, settings.ports, paths.pki
    value: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": net.node_ip,
        "port": ports.kubelet,
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": ports.kubelet_health,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{pki}/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{paths.containerd_socket}",
        "cgroupDriver": "systemd" if uses_systemd(host) else "cgroupfs",
        "failSwapOn": False,
        "clusterDomain": net.domain,
        "clusterDNS": [net.dns_ip],
        "resolvConf": host.resolv_conf,
        "podLogsDir": str(paths.state / "pod-logs"),
        "volumePluginDir": str(paths.state / "volume-plugins"),
        "serializeImagePulls": False,
        # A developer's disk is often nearly full: images and pods are not thrown out before it is.
        "imageGCHighThresholdPercent": 99,
        "imageGCLowThresholdPercent": 98,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "systemReserved": {"memory": "64Mi"},
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 2,
        "nodeStatusReportFrequency": "1m",
        "oomScoreAdj": -999 if host.can_raise_oom_score else 0,
    }
    if host.cgroup_version == 1:
        value["failCgroupV1"] = False
    return _json(value)


def kube_proxy(settings: Settings, paths: Paths) -> str:
    """Services by iptables; NodePorts answer on loopback only; conntrack settings are left alone."""
    return _json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(paths.config / "kube-proxy.kubeconfig")},
            "mode": "iptables",
            "clusterCIDR": settings.network.pod_cidr,
            "hostnameOverride": settings.node_name,
            "nodePortAddresses": ["127.0.0.0/8"],
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
            "healthzBindAddress": f"127.0.0.1:{settings.ports.proxy_health}",
            "metricsBindAddress": f"127.0.0.1:{settings.ports.proxy_metrics}",
            "oomScoreAdj": 0,
        }
    )


def registry(settings: Settings, paths: Paths) -> str:
    """An image registry for this machine only."""
    return _json(
        {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(paths.state / "registry")},
                "delete": {"enabled": True},
            },
            "http": {"addr": settings.registry, "secret": "of one registry on one machine"},
            "health": {"storagedriver": {"enabled": False}},
        }
    )


def corefile(settings: Settings, paths: Paths, host: Host) -> str:
    """Names of the cluster from the API server, all others from the machine's own name server."""
    net, ports = settings.network, settings.ports
    forward = f"forward . {host.resolv_conf}" if host.has_nameserver else ""
    return f""".:{ports.dns} {{
    bind {net.node_ip}
    errors
    ready 127.0.0.1:{ports.dns_ready}
    kubernetes {net.domain} in-addr.arpa ip6.arpa {{
        kubeconfig {paths.config}/coredns.kubeconfig
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    {forward}
    cache 30
}}
"""


def kubeconfig(settings: Settings, pki: Path, user: str, *, embed: bool = False) -> str:
    """A kubeconfig of the user whose certificate is `pki/<user>.crt`, with contents in it if `embed`."""

    def entry(name: str, file: str) -> dict[str, str]:
        if embed:
            return {f"{name}-data": base64.b64encode((pki / file).read_bytes()).decode()}
        return {name: str(pki / file)}

    context = settings.context
    cluster = {"server": settings.api_url, **entry("certificate-authority", "ca.crt")}
    identity = {**entry("client-certificate", f"{user}.crt"), **entry("client-key", f"{user}.key")}
    return _json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": context, "cluster": cluster}],
            "users": [{"name": user, "user": identity}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
        }
    )
