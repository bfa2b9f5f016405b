"""The URL forms of Redis, and what makes a Redis unsuitable: rules without I/O."""

import pytest
from taskqueue.redis_url import Form, RedisUrl, parse
from taskqueue.settings import RedisSettings, SettingsError, load
from taskqueue.suitability import facts, problems

GOOD = {"redis_version": "7.0.15", "maxmemory_policy": "noeviction", "aof_enabled": 1, "role": "master"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", RedisUrl(form=Form.SINGLE, tls=False, addresses=(("cache", 6379),))),
        (
            "redis://[::1]:7000/2",
            RedisUrl(form=Form.SINGLE, tls=False, addresses=(("::1", 7000),), database=2),
        ),
        (
            "rediss://ada%40x@cache:6380/0",
            RedisUrl(form=Form.SINGLE, tls=True, addresses=(("cache", 6380),), username="ada@x"),
        ),
        (
            "redis+sentinel://a,b:26380,[::1]:1/main/3",
            RedisUrl(
                form=Form.SENTINEL,
                tls=False,
                addresses=(("a", 26379), ("b", 26380), ("::1", 1)),
                service="main",
                database=3,
            ),
        ),
        (
            "rediss+cluster://a:7000,b",
            RedisUrl(form=Form.CLUSTER, tls=True, addresses=(("a", 7000), ("b", 6379))),
        ),
    ],
)
def test_a_url_says_where_redis_is(url: str, expected: RedisUrl) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://cache", "must be redis"),
        ("cache:6379", "must be redis"),
        ("redis://:canary@cache", "REDIS_PASSWORD"),
        ("redis://ada:canary@cache", "REDIS_PASSWORD"),
        ("redis://", "HOST"),
        ("redis://cache:canary", "HOST:PORT"),
        ("redis://cache/canary", "number"),
        ("redis://cache/0?ssl_cert_reqs=none", "setting"),
        ("redis://a,b", r"redis\+cluster"),
        ("redis+sentinel://a", "service"),
        ("redis+cluster://a/1", "database"),
    ],
)
def test_a_wrong_url_is_refused_with_what_to_change_and_never_repeated(url: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        parse(url)
    assert "canary" not in str(caught.value)


def test_a_user_without_a_password_and_a_bad_ca_file_are_settings_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_CA_FILE", __file__)
    with pytest.raises(SettingsError, match=r"REDIS_CA_FILE: .*PEM"):
        load(RedisSettings)
    monkeypatch.delenv("REDIS_CA_FILE")
    monkeypatch.setenv("REDIS_URL", "redis://ada@cache")
    with pytest.raises(SettingsError, match="REDIS_PASSWORD is missing"):
        load(RedisSettings)


def test_a_good_redis_has_no_problem_nor_has_valkey() -> None:
    valkey = GOOD | {"redis_version": "7.2.4", "server_name": "valkey"}
    for info in (GOOD, valkey):
        assert problems(facts(info), require_aof=True, cluster_url=False) == []
    assert facts(valkey).waitaof_offered


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"redis_version": "6.2.14"}, "too old"),
        ({"maxmemory_policy": "allkeys-lru"}, "noeviction"),
        ({"aof_enabled": 0}, "appendonly"),
        ({"role": "slave"}, "replica"),
        ({"cluster_enabled": 1}, r"redis+cluster://"),
    ],
)
def test_each_fault_alone_is_told_with_what_to_change(change: dict[str, object], word: str) -> None:
    (problem,) = problems(facts(GOOD | change), require_aof=True, cluster_url=False)
    assert word in problem


def test_all_faults_are_told_at_once() -> None:
    bad = {
        "redis_version": "5.0.1",
        "maxmemory_policy": "volatile-ttl",
        "role": "slave",
        "cluster_enabled": 1,
    }
    assert len(problems(facts(bad), require_aof=True, cluster_url=False)) == 5


def test_what_a_managed_redis_does_not_tell_is_no_fault_and_persistence_only_where_asked_for() -> None:
    assert problems(facts({"redis_version": "7.4.0"}), require_aof=False, cluster_url=False) == []
    assert problems(facts(GOOD | {"cluster_enabled": 1}), require_aof=True, cluster_url=True) == []


@pytest.mark.parametrize(
    ("version", "append_only", "offered"),
    [("7.0.15", 1, False), ("7.2.0", 1, True), ("8.0.2", 1, True), ("8.0.2", 0, False)],
)
def test_waiting_for_the_disk_needs_7_2_and_an_append_only_file(
    version: str, append_only: int, offered: bool
) -> None:
    assert facts({"redis_version": version, "aof_enabled": append_only}).waitaof_offered is offered
