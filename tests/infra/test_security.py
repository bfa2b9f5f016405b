"""What the stack's pods may and may not do."""

from typing import Any

import pytest

from tests.infra.conftest import SMTP, WITH_MAIL, Objects, merged, objects_with

PODS = ["task-api", "task-worker", "redis", "mail"]


@pytest.mark.parametrize("name", PODS)
class TestEveryPod:
    def test_runs_as_a_numeric_user_without_privileges(self, whole: Objects, name: str):
        context = whole.pod(name)["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["runAsGroup"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}

    def test_its_container_has_no_capabilities_and_a_read_only_root(self, whole: Objects, name: str):
        assert whole.container(name)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }

    def test_has_an_identity_of_its_own_and_no_token(self, whole: Objects, name: str):
        assert whole.pod(name)["serviceAccountName"] == name
        assert whole.pod(name)["automountServiceAccountToken"] is False
        assert whole.one("ServiceAccount", name)["automountServiceAccountToken"] is False

    def test_is_not_told_of_other_services_by_variables(self, whole: Objects, name: str):
        assert whole.pod(name)["enableServiceLinks"] is False

    def test_has_three_probes(self, whole: Objects, name: str):
        container = whole.container(name)
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()

    def test_pulls_with_the_set_secrets(self, name: str):
        objects = objects_with(**merged(WITH_MAIL, {"images": {"pullSecrets": ["regcred"]}}))
        assert objects.pod(name)["imagePullSecrets"] == [{"name": "regcred"}]


@pytest.mark.parametrize("name", ["task-api", "task-worker"])
class TestServices:
    def test_probes_are_by_http_and_liveness_is_apart_from_readiness(self, objects: Objects, name: str):
        container = objects.container(name)
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz/live"
        assert container["startupProbe"]["httpGet"]["path"] == "/healthz/live"
        assert container["readinessProbe"]["httpGet"]["path"] == "/healthz/ready"

    def test_pods_spread_over_zones_and_nodes(self, objects: Objects, name: str):
        keys = [c["topologyKey"] for c in objects.pod(name)["topologySpreadConstraints"]]
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        for constraint in objects.pod(name)["topologySpreadConstraints"]:
            assert constraint["labelSelector"] == {"matchLabels": {"app": name}}

    def test_a_drain_takes_one_pod_at_a_time(self, objects: Objects, name: str):
        budget = objects.one("PodDisruptionBudget", name)["spec"]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"] == {"matchLabels": {"app": name}}

    def test_has_a_tmp_to_write_to(self, objects: Objects, name: str):
        assert objects.container(name)["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
        assert objects.pod(name)["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]


def test_the_namespace_lets_only_restricted_pods_in(objects: Objects):
    labels = objects.one("Namespace", "task-queue")["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"


class TestNetwork:
    def spec(self, objects: Objects, name: str) -> dict[str, Any]:
        return objects.one("NetworkPolicy", name)["spec"]

    def ports(self, rules: list[dict[str, Any]]) -> list[int]:
        return sorted({port["port"] for rule in rules for port in rule["ports"]})

    def test_everything_is_denied_in_both_directions(self, whole: Objects):
        assert self.spec(whole, "default-deny") == {
            "podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "task-queue"}},
            "policyTypes": ["Ingress", "Egress"],
        }

    def test_every_policy_is_for_both_directions(self, whole: Objects):
        for policy in whole.of("NetworkPolicy"):
            assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]

    def test_only_api_and_workers_reach_redis(self, whole: Objects):
        (rule,) = self.spec(whole, "redis")["ingress"]
        assert [peer["podSelector"]["matchLabels"]["app"] for peer in rule["from"]] == [
            "task-api",
            "task-worker",
        ]
        assert self.ports([rule]) == [6379]
        assert "egress" not in self.spec(whole, "redis")

    def test_the_api_is_open_on_its_port_and_reaches_dns_and_redis_only(self, whole: Objects):
        spec = self.spec(whole, "task-api")
        assert spec["ingress"] == [{"ports": [{"port": 5000, "protocol": "TCP"}]}]
        assert self.ports(spec["egress"]) == [53, 6379]

    def test_workers_take_no_connections_and_reach_dns_redis_and_mail(self, whole: Objects):
        spec = self.spec(whole, "task-worker")
        assert "ingress" not in spec
        assert self.ports(spec["egress"]) == [53, 2525, 6379]
        assert spec["egress"][-1]["to"] == [{"podSelector": {"matchLabels": {"app": "mail"}}}]

    def test_dns_is_allowed_by_udp_and_tcp(self, whole: Objects):
        for name in ("task-api", "task-worker"):
            assert self.spec(whole, name)["egress"][0] == {
                "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
            }

    def test_workers_reach_the_set_smtp_port_anywhere(self):
        egress = self.spec(objects_with(email=SMTP), "task-worker")["egress"]
        assert egress[-1] == {"ports": [{"port": 465, "protocol": "TCP"}]}

    def test_workers_reach_smtp_in_the_set_networks_only(self):
        email = merged(SMTP, {"smtp": {"cidrs": ["192.0.2.0/24"]}})
        egress = self.spec(objects_with(email=email), "task-worker")["egress"]
        assert egress[-1]["to"] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}]

    def test_simulated_delivery_reaches_no_smtp(self, objects: Objects):
        assert self.ports(self.spec(objects, "task-worker")["egress"]) == [53, 6379]

    def test_an_external_redis_is_reached_in_its_networks(self):
        external = {"url": "rediss://cache.test:6380", "cidrs": ["10.1.0.0/16"]}
        egress = self.spec(objects_with(redis={"external": external}), "task-api")["egress"]
        assert egress[-1] == {
            "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"port": 6380, "protocol": "TCP"}]
        }  # fmt: skip

    def test_only_workers_hand_mail_in(self, whole: Objects):
        smtp, http = self.spec(whole, "mail")["ingress"]
        assert smtp["from"] == [{"podSelector": {"matchLabels": {"app": "task-worker"}}}]
        assert (self.ports([smtp]), self.ports([http])) == ([2525], [8025])
