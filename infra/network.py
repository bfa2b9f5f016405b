"""NetworkPolicies: nothing may talk to or from the stack's pods but what is named here."""

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_kubernetes.meta import v1 as meta
from pulumi_kubernetes.networking import v1 as networking

from infra import api, mail, redis, worker
from infra.metadata import PART_OF, metadata
from infra.settings import Settings

Peer = networking.NetworkPolicyPeerArgs
_BOTH = ["Ingress", "Egress"]


def _pods(app: str) -> Peer:
    return Peer(pod_selector=meta.LabelSelectorArgs(match_labels={"app": app}))


def _networks(cidrs: Sequence[str]) -> list[Peer] | None:
    """Peers by address; None, which is anywhere, where no networks are named."""
    return [Peer(ip_block=networking.IPBlockArgs(cidr=cidr)) for cidr in cidrs] or None


def _port(number: int, protocol: str = "TCP") -> networking.NetworkPolicyPortArgs:
    return networking.NetworkPolicyPortArgs(port=number, protocol=protocol)


def _to(peers: list[Peer] | None, port: int) -> networking.NetworkPolicyEgressRuleArgs:
    return networking.NetworkPolicyEgressRuleArgs(to=peers, ports=[_port(port)])


def _from(peers: list[Peer] | None, *ports: int) -> networking.NetworkPolicyIngressRuleArgs:
    return networking.NetworkPolicyIngressRuleArgs(from_=peers, ports=[_port(port) for port in ports])


def _to_dns() -> networking.NetworkPolicyEgressRuleArgs:
    # To anywhere: on some clusters DNS is a pod of kube-system, on others a cache on the node's own address.
    return networking.NetworkPolicyEgressRuleArgs(ports=[_port(53, "UDP"), _port(53, "TCP")])


class Network(pulumi.ComponentResource):
    """One policy that denies everything to the stack's pods, and one a program that allows what it needs."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        namespace: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("task-queue:infra:Network", name, None, opts)
        self._settings, self._namespace = settings, namespace
        # By label, not the whole namespace: it may hold pods of others.
        self._policy("default-deny", "task-queue", PART_OF, [], [])
        to_redis = self._to_redis()
        self._allow(api.APP, [_from(None, api.PORT)], [_to_dns(), to_redis])
        self._allow(worker.APP, [], [_to_dns(), to_redis, *self._to_smtp()])
        if settings.redis.external is None:
            self._allow(redis.APP, [_from([_pods(api.APP), _pods(worker.APP)], redis.PORT)], [])
        if settings.mail.enabled:
            self._allow(
                mail.APP, [_from([_pods(worker.APP)], mail.SMTP_PORT), _from(None, mail.HTTP_PORT)], []
            )
        self.register_outputs({})

    def _to_redis(self) -> networking.NetworkPolicyEgressRuleArgs:
        external = self._settings.redis.external
        if external is None:
            return _to([_pods(redis.APP)], redis.PORT)
        return networking.NetworkPolicyEgressRuleArgs(
            to=_networks(external.cidrs), ports=[_port(port) for port in external.reached_ports]
        )

    def _to_smtp(self) -> list[networking.NetworkPolicyEgressRuleArgs]:
        smtp = self._settings.email.smtp
        if smtp is None:
            return []
        inside = self._settings.mail.enabled and smtp.host.split(".")[0] == mail.SERVICE
        return [_to([_pods(mail.APP)] if inside else _networks(smtp.cidrs), smtp.port)]

    def _allow(
        self,
        app: str,
        ingress: list[networking.NetworkPolicyIngressRuleArgs],
        egress: list[networking.NetworkPolicyEgressRuleArgs],
    ) -> None:
        self._policy(app, app, {"app": app}, ingress, egress)

    def _policy(
        self,
        name: str,
        app: str,
        pods: Mapping[str, str],
        ingress: list[networking.NetworkPolicyIngressRuleArgs],
        egress: list[networking.NetworkPolicyEgressRuleArgs],
    ) -> None:
        networking.NetworkPolicy(
            f"{name}-policy",
            metadata=metadata(name, app, self._namespace),
            spec=networking.NetworkPolicySpecArgs(
                pod_selector=meta.LabelSelectorArgs(match_labels=dict(pods)),
                policy_types=_BOTH,
                ingress=ingress or None,
                egress=egress or None,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
