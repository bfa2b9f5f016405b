"""What may be set on a stack, and what is said when it is wrong."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from infra.settings import SettingsError, StackConfig, load
from tests.infra.conftest import LEAST, SMTP, config_of, merged, settings_with

Wrong = Callable[..., list[str]]
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def test_the_defaults_are_those_of_the_contract():
    settings = settings_with()
    assert settings.namespace == "task-queue"
    assert settings.api.replicas == 3
    for resources in (settings.api.resources, settings.worker.resources):
        assert (resources.requests.cpu, resources.requests.memory) == ("100m", "128Mi")
        assert (resources.limits.cpu, resources.limits.memory) == ("500m", "256Mi")


def test_settings_cannot_be_changed_once_read():
    settings = settings_with()
    with pytest.raises(ValidationError, match="frozen"):
        settings.namespace = "other"


def test_every_error_is_told_at_once_each_with_its_key(wrong: Wrong):
    problems = wrong(
        namspace="typo",
        redisPassword=None,
        worker={
            "resources": {"requests": {"cpu": "5q"}},
            "autoscaling": {"minReplicas": 5, "maxReplicas": 2, "cpuPercnt": 70},
        },
        email={"transport": None},
    )
    assert [problem.split(":")[0] for problem in sorted(problems)] == [
        "email.transport",
        "namspace",
        "redisPassword",
        "worker.autoscaling.cpuPercnt",
        "worker.autoscaling.maxReplicas",
        "worker.resources.requests.cpu",
    ]


def test_an_unknown_key_is_named_with_the_one_that_was_meant(wrong: Wrong):
    assert wrong(worker={"concurency": 3}) == ["worker.concurency: unknown key (did you mean concurrency?)"]


def test_a_key_that_resembles_none_gets_the_list_of_those_there_are(wrong: Wrong):
    (problem,) = wrong(email={"zzz": 1})
    assert "known here: transport, sender, smtp" in problem


@pytest.mark.parametrize("given", ["5q", "-1", "1.5.2", "", "100 m", "1e"])
def test_a_bad_quantity_is_refused(wrong: Wrong, given: str):
    (problem,) = wrong(api={"resources": {"limits": {"cpu": given}}})
    assert problem.startswith("api.resources.limits.cpu: ")


@pytest.mark.parametrize("given", ["128m", "128", "1k"])
def test_memory_without_a_sensible_unit_is_refused(wrong: Wrong, given: str):
    problems = wrong(api={"resources": {"requests": {"memory": given}}})
    assert problems[0].startswith("api.resources.requests.memory: ")


def test_a_number_is_a_quantity_too():
    assert settings_with(api={"resources": {"limits": {"cpu": 1}}}).api.resources.limits.cpu == "1"


def test_a_request_above_its_limit_is_refused(wrong: Wrong):
    assert wrong(worker={"resources": {"requests": {"cpu": "600m"}}}) == [
        "worker.resources.limits: cpu: the request 600m is more than the limit 500m"
    ]


def test_more_maxmemory_than_redis_can_fork_with_is_refused(wrong: Wrong):
    (problem,) = wrong(redis={"maxmemory": "200Mi"})
    assert problem.startswith("redis.maxmemory: 200Mi is more than 60 % of resources.limits.memory, 256Mi")


def test_maxmemory_of_sixty_percent_is_allowed():
    settings = settings_with(redis={"resources": {"limits": {"memory": "1000Mi"}}, "maxmemory": "600Mi"})
    assert settings.redis.maxmemory == "600Mi"


def test_a_stack_that_names_no_transport_is_refused(wrong: Wrong):
    assert wrong(email=None) == ["email: required: set email.transport"]


def test_smtp_without_a_server_is_refused(wrong: Wrong):
    assert wrong(email={"transport": "smtp"}) == [
        "email.smtp: the transport smtp needs it: set at least smtp.host"
    ]


def test_an_smtp_login_without_its_password_is_refused(wrong: Wrong):
    (problem,) = wrong(email=merged(SMTP, {"smtp": {"username": "me"}}))
    assert problem.startswith("smtpPassword: required by email.smtp.username")


def test_an_smtp_login_in_the_clear_is_refused(wrong: Wrong):
    problems = wrong(email=merged(SMTP, {"smtp": {"username": "me", "tls": "none"}}), smtpPassword="hush")
    assert "email.smtp.username: a login needs tls: starttls or implicit" in problems


def test_an_smtp_password_without_a_login_is_refused(wrong: Wrong):
    assert wrong(smtpPassword="x", email=SMTP) == [
        "smtpPassword: it is of no use without email.smtp.username"
    ]


def test_a_stack_without_images_is_refused(wrong: Wrong):
    (problem,) = wrong(images=None)
    assert problem.startswith("images: no image for api and worker")


def test_a_mail_server_without_an_image_is_refused(wrong: Wrong):
    (problem,) = wrong(mail={"enabled": True})
    assert problem.startswith("mail: no image for mail")


@pytest.mark.parametrize("ref", ["task-api", "registry.test/task-api", "task api:1", ":1"])
def test_an_image_without_tag_or_digest_is_refused(wrong: Wrong, ref: str):
    (problem,) = wrong(images={"api": ref})
    assert "is not an image reference" in problem


def test_a_registry_must_begin_with_its_host(wrong: Wrong):
    (problem,) = wrong(images={"registry": "acme/tasks"})
    assert "does not begin with a host" in problem


@pytest.mark.parametrize(
    "password", ["tiny", "with space and more", 'quote"quote"quote', "pässword-of-length"]
)
def test_a_redis_password_that_its_configuration_cannot_hold_is_refused(wrong: Wrong, password: str):
    (problem,) = wrong(redisPassword=password)
    assert problem.startswith("redisPassword: ")
    assert password not in problem


def test_a_secret_in_the_clear_is_refused_without_repeating_it():
    config = config_of(LEAST)
    with pytest.raises(SettingsError) as caught:
        load(StackConfig(stack="test", values=config.values, secret_keys=frozenset()))
    assert "redisPassword: it is stored in the clear" in str(caught.value)
    assert LEAST["redisPassword"] not in str(caught.value)


def test_secrets_are_not_shown_with_the_settings():
    assert LEAST["redisPassword"] not in repr(settings_with())


def test_an_external_redis_needs_no_password():
    settings = settings_with(redisPassword=None, redis={"external": {"url": "rediss://cache.test:6380/0"}})
    assert settings.redis.external
    assert settings.redis.external.reached_ports == (6380,)


@pytest.mark.parametrize(
    ("external", "form", "ports"),
    [
        ({"url": "redis+sentinel://a,b:26380/main/0"}, "+sentinel", (26379, 26380, 6379)),
        ({"url": "rediss+sentinel://a/main", "ports": [6390]}, "+sentinel", (26379, 6390)),
        ({"url": "redis+cluster://a:7000,[::1]", "ports": [7001]}, "+cluster", (7000, 6379, 7001)),
    ],
)
def test_an_external_redis_may_be_under_sentinels_or_a_cluster(
    external: dict[str, Any], form: str, ports: tuple[int, ...]
):
    found = settings_with(redis={"external": external}).redis.external
    assert found
    assert (found.form, found.reached_ports) == (form, ports)


@pytest.mark.parametrize(
    ("redis", "secrets", "key"),
    [
        ({"url": "redis+sentinel://a"}, {}, "redis.external.url"),
        ({"url": "redis://a", "caCertificate": PEM}, {}, "redis.external.caCertificate"),
        ({"url": "rediss://a", "caCertificate": "no PEM"}, {}, "redis.external.caCertificate"),
        ({"url": "redis://a", "username": "ada"}, {"redisPassword": None}, "redisPassword"),
        ({"url": "redis://a"}, {"sentinelPassword": "hush"}, "sentinelPassword"),
        ({"url": "redis+sentinel://a/s", "sentinelUsername": "ada"}, {}, "sentinelPassword"),
    ],
)
def test_settings_of_an_external_redis_that_do_not_fit_together_are_refused(
    wrong: Wrong, redis: dict[str, Any], secrets: dict[str, Any], key: str
):
    (problem,) = wrong(redis={"external": redis}, **secrets)
    assert problem.startswith(f"{key}: ")
    assert "hush" not in problem


@pytest.mark.parametrize(
    "url",
    [
        *("http://cache.test", "redis://", "redis://:secret@cache.test:6379", "redis+other://cache.test"),
        "redis+cluster://a,ada:secret@b",
    ],
)
def test_an_external_redis_is_a_redis_url_without_password(wrong: Wrong, url: str):
    (problem,) = wrong(redis={"external": {"url": url}})
    assert problem.startswith("redis.external.url: ")
    assert "secret@" not in problem


def test_a_cluster_ip_service_has_no_node_port(wrong: Wrong):
    (problem,) = wrong(api={"service": {"type": "ClusterIP", "nodePort": 30500}})
    assert problem == "api.service.nodePort: a ClusterIP Service has no node port"


def test_a_section_given_as_text_is_refused(wrong: Wrong):
    (problem,) = wrong(worker="many")
    assert problem.startswith("worker: it is not a section with keys")


def test_keys_of_providers_are_none_of_our_business():
    config = config_of(LEAST)
    load(
        StackConfig(
            stack="test",
            values={**config.values, "kubernetes:context": "kind"},
            secret_keys=config.secret_keys,
        )
    )


def test_a_registry_login_without_its_password_is_refused(wrong: Wrong):
    (problem,) = wrong(images={"registry": "ghcr.io/acme", "registryUsername": "me"})
    assert problem.startswith("registryPassword: required by images.registryUsername")


def test_values_that_pulumi_stores_as_text_are_read_as_what_they_are():
    changes: dict[str, Any] = {"createNamespace": "false", "api": {"replicas": "4"}}
    settings = settings_with(**changes)
    assert (settings.create_namespace, settings.api.replicas) == (False, 4)
