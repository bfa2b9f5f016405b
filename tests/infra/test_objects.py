"""Each Kubernetes object of the stack: the programs, their Services, settings and scaling."""

from typing import Any

import pytest

from tests.infra.conftest import SMTP, WITH_MAIL, Objects, merged, objects_with


def test_the_stack_consists_of_these_objects(whole: Objects):
    # Names with a hash of content are listed without it.
    names = sorted(
        f"{o['kind']}/{o['metadata']['name']}" for o in whole.all if o["kind"] not in ("ConfigMap", "Secret")
    )
    assert names == [
        "Deployment/mail",
        "Deployment/task-api",
        "Deployment/task-worker",
        "HorizontalPodAutoscaler/task-worker-hpa",
        "Namespace/task-queue",
        "NetworkPolicy/default-deny",
        "NetworkPolicy/mail",
        "NetworkPolicy/redis",
        "NetworkPolicy/task-api",
        "NetworkPolicy/task-worker",
        "PodDisruptionBudget/task-api",
        "PodDisruptionBudget/task-worker",
        "Service/api-service",
        "Service/mail-service",
        "Service/redis-service",
        "ServiceAccount/mail",
        "ServiceAccount/redis",
        "ServiceAccount/task-api",
        "ServiceAccount/task-worker",
        "StatefulSet/redis",
    ]


def test_every_object_says_what_it_belongs_to(whole: Objects):
    for manifest in whole.all:
        assert manifest["metadata"]["labels"]["app.kubernetes.io/part-of"] == "task-queue"


def test_pods_carry_the_labels_that_people_select_by(whole: Objects):
    for kind, name in (("Deployment", "task-api"), ("Deployment", "task-worker"), ("StatefulSet", "redis")):
        spec = whole.one(kind, name)["spec"]
        assert spec["selector"]["matchLabels"] == {"app": name}
        assert (
            spec["template"]["metadata"]["labels"].items()
            >= {"app": name, "app.kubernetes.io/name": name}.items()
        )


def test_everything_is_in_the_stack_s_namespace():
    objects = objects_with(namespace="elsewhere")
    assert objects.one("Namespace", "elsewhere")
    assert {o["metadata"]["namespace"] for o in objects.all if o["kind"] != "Namespace"} == {"elsewhere"}


def test_a_namespace_that_is_there_already_is_not_made():
    objects = objects_with(createNamespace="false")
    assert not objects.of("Namespace")
    assert objects.one("Deployment", "task-api")["metadata"]["namespace"] == "task-queue"


class TestAutoscaling:
    def test_it_keeps_two_to_ten_workers_at_seventy_percent(self, objects: Objects):
        spec = objects.one("HorizontalPodAutoscaler", "task-worker-hpa")["spec"]
        assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 10)
        assert spec["scaleTargetRef"] == {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "task-worker",
        }
        assert spec["metrics"] == [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            }
        ]

    def test_it_adds_at_once_the_larger_of_all_and_two(self, objects: Objects):
        assert objects.one("HorizontalPodAutoscaler", "task-worker-hpa")["spec"]["behavior"]["scaleUp"] == {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 15},
                {"type": "Pods", "value": 2, "periodSeconds": 15},
            ],
        }

    def test_it_removes_half_a_minute_after_five_quiet_minutes(self, objects: Objects):
        down = objects.one("HorizontalPodAutoscaler", "task-worker-hpa")["spec"]["behavior"]["scaleDown"]
        assert down["stabilizationWindowSeconds"] == 300
        assert down["policies"] == [{"type": "Percent", "value": 50, "periodSeconds": 60}]

    def test_no_update_of_the_stack_undoes_what_it_did(self, objects: Objects):
        assert "replicas" not in objects.one("Deployment", "task-worker")["spec"]

    def test_each_number_is_a_setting(self):
        objects = objects_with(
            worker={
                "autoscaling": {
                    "minReplicas": 1, "maxReplicas": 4, "cpuPercent": 50,
                    "upWindowSeconds": 1, "upPercent": 10,
                    "upPods": 1, "upPeriodSeconds": 2,
                    "downWindowSeconds": 3, "downPercent": 20, "downPeriodSeconds": 4,
                }
            }
        )  # fmt: skip
        spec = objects.one("HorizontalPodAutoscaler", "task-worker-hpa")["spec"]
        assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 4)
        assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
        up, down = spec["behavior"]["scaleUp"], spec["behavior"]["scaleDown"]
        assert [tuple(p.values()) for p in up["policies"]] == [(2, "Percent", 10), (2, "Pods", 1)]
        assert (up["stabilizationWindowSeconds"], down["stabilizationWindowSeconds"]) == (1, 3)
        assert down["policies"] == [{"periodSeconds": 4, "type": "Percent", "value": 20}]


class TestApi:
    def test_three_replicas_are_replaced_without_a_gap(self, objects: Objects):
        spec = objects.one("Deployment", "task-api")["spec"]
        assert spec["replicas"] == 3
        assert spec["strategy"] == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        }

    def test_a_stopping_pod_serves_on_until_no_one_calls_it(self, objects: Objects):
        assert objects.container("task-api")["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
        assert objects.pod("task-api")["terminationGracePeriodSeconds"] == 5 + 5 + 20 + 5

    def test_its_service_leads_from_80_to_5000(self, objects: Objects):
        spec = objects.one("Service", "api-service")["spec"]
        assert spec["type"] == "LoadBalancer"
        assert spec["ports"] == [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
        assert objects.container("task-api")["ports"] == [{"name": "http", "containerPort": 5000}]
        assert spec["selector"] == {"app": "task-api"}

    def test_a_node_port_and_a_cloud_s_annotations_are_settings(self):
        service = {
            "type": "NodePort",
            "nodePort": 30500,
            "annotations": {"a/b": "c"},
            "sourceRanges": ["10.0.0.0/8"],
        }
        made = objects_with(api={"service": service}).one("Service", "api-service")
        assert made["spec"]["type"] == "NodePort"
        assert made["spec"]["ports"][0]["nodePort"] == 30500
        assert made["spec"]["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
        assert made["metadata"]["annotations"] == {"a/b": "c"}

    def test_an_ingress_is_made_only_when_asked_for(self, objects: Objects):
        assert not objects.of("Ingress")
        asked = {
            "host": "tasks.test",
            "className": "nginx",
            "tlsSecret": "tasks-tls",
            "annotations": {"x": "y"},
        }
        ingress = objects_with(api={"ingress": asked}).one("Ingress", "task-api")
        assert ingress["metadata"]["annotations"] == {"x": "y"}
        assert ingress["spec"]["ingressClassName"] == "nginx"
        assert ingress["spec"]["tls"] == [{"hosts": ["tasks.test"], "secretName": "tasks-tls"}]
        (rule,) = ingress["spec"]["rules"]
        assert rule["http"]["paths"][0]["backend"] == {
            "service": {"name": "api-service", "port": {"name": "http"}}
        }

    def test_it_learns_its_settings_from_the_environment(self, objects: Objects):
        environment = objects.environment("task-api")
        assert environment["REDIS_URL"] == "redis://redis-service:6379/0"
        assert environment["PORT"] == "5000"
        assert environment["SHUTDOWN_GRACE_S"] == "20"
        assert environment["REDIS_PASSWORD"]["secretKeyRef"]["key"] == "password"

    def test_it_serves_the_queues_that_the_workers_serve(self):
        objects = objects_with(queueNames="default,bulk")
        for app in ("task-api", "task-worker"):
            assert objects.environment(app)["QUEUE_NAMES"] == "default,bulk"


class TestWorker:
    def test_it_has_five_seconds_more_than_its_drain(self):
        objects = objects_with(worker={"shutdownGraceSeconds": 60})
        assert objects.pod("task-worker")["terminationGracePeriodSeconds"] == 65
        assert objects.environment("task-worker")["SHUTDOWN_GRACE_S"] == "60"

    def test_it_is_replaced_without_a_gap(self, objects: Objects):
        rolling = objects.one("Deployment", "task-worker")["spec"]["strategy"]["rollingUpdate"]
        assert rolling == {"maxUnavailable": 0, "maxSurge": "25%"}

    def test_it_knows_its_transport_and_place(self, objects: Objects):
        environment = objects.environment("task-worker")
        assert environment["EMAIL_TRANSPORT"] == "simulate"
        assert environment["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
        assert environment["NODE_NAME"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
        assert environment["WORKER_CONCURRENCY"] == "10"
        assert not [name for name in environment if name.startswith("SMTP")]

    def test_it_knows_its_smtp_server(self):
        environment = objects_with(email=SMTP).environment("task-worker")
        smtp = {name: value for name, value in environment.items() if name.startswith("SMTP")}
        assert smtp == {
            "SMTP_HOST": "smtp.test", "SMTP_PORT": "465", "SMTP_TLS": "implicit", "SMTP_TLS_VERIFY": "true",
            "SMTP_POOL_SIZE": "10", "SMTP_TIMEOUT_S": "30",
        }  # fmt: skip

    def test_its_smtp_login_is_in_a_secret_of_its_own(self):
        objects = objects_with(email=merged(SMTP, {"smtp": {"username": "me"}}), smtpPassword="hush")
        secret = objects.one("Secret", "smtp-login")
        assert objects.secret("smtp-login") == {"username": "me", "password": "hush"}
        environment = objects.environment("task-worker")
        for variable, key in (("SMTP_USERNAME", "username"), ("SMTP_PASSWORD", "password")):
            assert environment[variable] == {"secretKeyRef": {"name": secret["metadata"]["name"], "key": key}}


class TestRedis:
    def configuration(self, objects: Objects) -> list[str]:
        return objects.one("ConfigMap", "redis-config")["data"]["redis.conf"].splitlines()

    def test_it_keeps_what_it_acknowledged_and_evicts_nothing(self, objects: Objects):
        lines = self.configuration(objects)
        for line in ("appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"):
            assert line in lines
        assert f"maxmemory {144 * 1024**2}" in lines

    def test_its_password_is_in_a_file_not_on_a_command_line(self, objects: Objects):
        assert objects.secret("redis-password")["auth.conf"] == 'requirepass "correct-horse-battery"\n'
        assert "include /etc/redis-secret/auth.conf" in self.configuration(objects)
        assert "correct-horse-battery" not in str([o for o in objects.all if o["kind"] != "Secret"])

    def test_it_has_a_claim_of_the_set_size_and_class(self):
        objects = objects_with(redis={"storageSize": "5Gi", "storageClass": "fast"})
        (claim,) = objects.one("StatefulSet", "redis")["spec"]["volumeClaimTemplates"]
        assert claim["spec"]["resources"] == {"requests": {"storage": "5Gi"}}
        assert claim["spec"]["storageClassName"] == "fast"
        assert claim["metadata"]["name"] in [m["name"] for m in objects.container("redis")["volumeMounts"]]

    def test_loading_a_long_file_does_not_get_it_killed(self, objects: Objects):
        container = objects.container("redis")
        assert "tcpSocket" in container["livenessProbe"]
        assert container["startupProbe"]["failureThreshold"] >= 300
        assert container["readinessProbe"]["exec"]["command"] == ["redis-cli", "-e", "ping"]

    def test_it_is_reached_by_its_service(self, objects: Objects):
        spec = objects.one("Service", "redis-service")["spec"]
        assert spec["type"] == "ClusterIP"
        assert spec["ports"][0]["port"] == 6379
        assert objects.one("StatefulSet", "redis")["spec"]["serviceName"] == "redis-service"

    def test_an_external_one_replaces_it(self):
        objects = objects_with(
            redis={"external": {"url": "rediss://cache.test:6380/2", "cidrs": ["10.1.0.0/16"]}}
        )
        assert not objects.of("StatefulSet")
        assert "redis-service" not in [o["metadata"]["name"] for o in objects.of("Service")]
        assert objects.environment("task-api")["REDIS_URL"] == "rediss://cache.test:6380/2"
        assert objects.environment("task-worker")["REDIS_PASSWORD"]

    def test_an_external_one_gets_its_users_passwords_and_authority(self):
        external = {
            "url": "rediss+sentinel://a.test/main/0",
            "username": "queue",
            "sentinelUsername": "watch",
            "caCertificate": "-----BEGIN CERTIFICATE-----\n",
            "requireAof": True,
        }
        objects = objects_with(redis={"external": external}, sentinelPassword="hush")
        for app in ("task-api", "task-worker"):
            environment = objects.environment(app)
            assert environment["REDIS_URL"] == external["url"]
            assert (environment["REDIS_USERNAME"], environment["REDIS_SENTINEL_USERNAME"]) == (
                "queue",
                "watch",
            )
            assert environment["REDIS_REQUIRE_AOF"] == "true"
            assert environment["REDIS_PASSWORD"]
            assert environment["REDIS_SENTINEL_PASSWORD"]
            folder, _, file = environment["REDIS_CA_FILE"].rpartition("/")
            (mount,) = [m for m in objects.container(app)["volumeMounts"] if m["mountPath"] == folder]
            volumes = objects.one("Deployment", app)["spec"]["template"]["spec"]["volumes"]
            (volume,) = [v for v in volumes if v["name"] == mount["name"]]
            assert file in objects.one("ConfigMap", volume["configMap"]["name"])["data"]

    def test_its_own_must_keep_an_append_only_file(self, objects: Objects):
        assert objects.environment("task-api")["REDIS_REQUIRE_AOF"] == "true"
        assert objects.environment("task-worker")["REDIS_REQUIRE_AOF"] == "true"

    def test_an_external_one_without_password_has_no_secret(self):
        objects = objects_with(redisPassword=None, redis={"external": {"url": "redis://cache.test:6379/0"}})
        assert not objects.of("Secret")
        assert "REDIS_PASSWORD" not in objects.environment("task-worker")


class TestMail:
    def test_it_is_there_only_where_it_is_asked_for(self, objects: Objects, whole: Objects):
        assert "mail" not in [o["metadata"]["name"] for o in objects.of("Deployment")]
        ports = whole.one("Service", "mail-service")["spec"]["ports"]
        assert {p["name"]: p["port"] for p in ports} == {"smtp": 2525, "http": 8025}
        assert whole.environment("mail") == {"SMTP_ADDR": ":2525", "HTTP_ADDR": ":8025"}

    def test_its_http_port_can_be_a_node_s(self):
        service = {"type": "NodePort", "nodePort": 30825}
        objects = objects_with(**merged(WITH_MAIL, {"mail": {"service": service}}))
        ports = objects.one("Service", "mail-service")["spec"]["ports"]
        assert {p["name"]: p.get("nodePort") for p in ports} == {"http": 30825, "smtp": None}


class TestRolling:
    def test_new_settings_give_the_config_map_a_new_name_and_so_roll_the_pods(self, objects: Objects):
        other = objects_with(worker={"concurrency": 11})
        before, after = (
            o.container("task-worker")["envFrom"][0]["configMapRef"]["name"] for o in (objects, other)
        )
        assert before != after
        assert other.one("ConfigMap", after)["data"]["WORKER_CONCURRENCY"] == "11"
        assert objects.pod("task-api") == other.pod("task-api")

    def test_a_new_password_gives_the_secret_a_new_name_and_so_rolls_everything(self, objects: Objects):
        other = objects_with(redisPassword="another-password-1")
        for name in ("task-api", "task-worker", "redis"):
            assert objects.pod(name) != other.pod(name)

    def test_the_same_settings_give_the_same_names(self, objects: Objects):
        assert objects.all == objects_with().all

    def test_a_secret_s_name_depends_on_more_than_its_content(self):
        email = merged(SMTP, {"smtp": {"username": "me"}})
        names = {
            objects_with(email=email, smtpPassword="hush", redisPassword=key).one("Secret", "smtp-login")[
                "metadata"
            ]["name"]
            for key in ("one-redis-password", "two-redis-password")
        }
        assert len(names) == 2

    @pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
    def test_content_is_never_changed_in_place(self, objects: Objects, kind: str):
        assert all(o["immutable"] for o in objects.of(kind))


@pytest.mark.parametrize("name", ["task-api", "task-worker", "redis", "mail"])
def test_every_request_and_limit_is_a_setting(name: str):
    section = name.removeprefix("task-")
    resources: dict[str, Any] = {
        "requests": {"cpu": "7m", "memory": "70Mi"},
        "limits": {"cpu": "9m", "memory": "300Mi"},
    }
    objects = objects_with(**merged(WITH_MAIL, {section: {"resources": resources}}))
    assert objects.container(name)["resources"] == resources
