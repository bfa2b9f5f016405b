"""compose.yaml, as Docker's own parser reads it after holding it against the compose schema."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("api", "worker", "mail")


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("go") is None:
        raise RuntimeError("go is not installed: the compose parser cannot be built")
    path = tmp_path_factory.mktemp("compose") / "composecheck"
    folder = Path(__file__).parent / "compose_check"
    subprocess.run(["go", "build", "-o", str(path), "."], cwd=folder, check=True)
    return path


def _parse(parser: Path, file: Path, **env: str) -> dict[str, Any]:
    done = subprocess.run([str(parser), str(file)], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr)
    return cast("dict[str, Any]", json.loads(done.stdout))


@pytest.fixture(scope="module")
def services(parser: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", _parse(parser, ROOT / "compose.yaml")["services"])


def test_the_four_parts_are_there(services: dict[str, Any]) -> None:
    assert set(services) == {"api", "worker", "redis", "mail"}


def test_what_the_schema_does_not_know_is_refused(parser: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((ROOT / "compose.yaml").read_text().replace("mem_limit:", "memory_limit:"))
    with pytest.raises(ValueError, match="memory_limit"):
        _parse(parser, wrong)


def test_the_api_is_published_on_5000_and_only_on_loopback(services: dict[str, Any]) -> None:
    (port,) = services["api"]["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "5000", 5000)
    for service in services.values():
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", []))


def test_redis_keeps_everything_and_is_not_published(services: dict[str, Any]) -> None:
    redis = services["redis"]
    words = " ".join(redis["command"])
    for setting in (
        "--appendonly yes",
        "--maxmemory-policy noeviction",
        "--maxmemory 300mb",
        "--requirepass",
    ):
        assert setting in words
    assert "ports" not in redis
    assert [volume["target"] for volume in redis["volumes"]] == ["/data"]
    assert 0.6 * int(redis["mem_limit"]) >= 300 * 2**20


def test_redis_and_its_clients_share_one_password_from_the_environment(parser: Path) -> None:
    services = _parse(parser, ROOT / "compose.yaml", REDIS_PASSWORD="from-outside")["services"]
    found = {services[name]["environment"]["REDIS_PASSWORD"] for name in ("api", "worker")}
    assert found | {services["redis"]["environment"]["REDISCLI_AUTH"]} == {"from-outside"}
    assert "from-outside" not in services["api"]["environment"]["REDIS_URL"]


def test_two_workers_deliver_to_the_mail_server_that_is_here(services: dict[str, Any]) -> None:
    worker = services["worker"]
    assert worker["deploy"]["replicas"] == 2
    assert worker["environment"]["EMAIL_TRANSPORT"] == "smtp"
    assert worker["environment"]["SMTP_HOST"] in services["mail"]["networks"]["default"]["aliases"]


def test_names_in_addresses_are_names_on_the_network(services: dict[str, Any]) -> None:
    host = services["api"]["environment"]["REDIS_URL"].split("//")[1].split(":")[0]
    assert host in services["redis"]["networks"]["default"]["aliases"]


@pytest.mark.parametrize("name", ["api", "worker", "redis", "mail"])
def test_each_part_is_hardened_limited_watched_and_restarted(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["restart"] == "unless-stopped"
    assert int(service["mem_limit"]) > 0
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


@pytest.mark.parametrize("name", OURS)
def test_our_images_are_built_from_files_and_targets_that_exist(services: dict[str, Any], name: str) -> None:
    build = services[name]["build"]
    dockerfile = (ROOT / build["dockerfile"]).read_text()
    assert f" AS {build['target']}\n" in dockerfile
    assert (ROOT / f"{build['dockerfile']}.dockerignore").read_text().splitlines()[1] == "*"


def test_nothing_starts_before_what_it_needs_is_healthy(services: dict[str, Any]) -> None:
    assert services["api"]["depends_on"]["redis"]["condition"] == "service_healthy"
    waits = {name: need["condition"] for name, need in services["worker"]["depends_on"].items()}
    assert waits == {"redis": "service_healthy", "mail": "service_healthy"}


def test_a_stopping_worker_gets_longer_than_it_takes_for_itself(services: dict[str, Any]) -> None:
    worker = services["worker"]
    assert worker["stop_grace_period"] == f"{int(worker['environment']['SHUTDOWN_GRACE_S']) + 5}s"
