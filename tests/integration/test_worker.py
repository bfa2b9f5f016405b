"""The worker as a process: what it delivers, and what becomes of its tasks when it ends."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fixtures.processes import Process, RedisServer, Services, wait_until
from tests.fixtures.smtp import MailServer
from tests.integration.clients import post, show, until


def by_smtp(mail: MailServer, **env: str) -> dict[str, str]:
    return {
        "EMAIL_TRANSPORT": "smtp",
        "EMAIL_SENDER": "queue@example.org",
        "SMTP_HOST": "localhost",
        "SMTP_PORT": str(mail.port),
        "SMTP_TLS_VERIFY": "false",
        **env,
    }


async def begun(services: Services, count: int) -> list[tuple[str, int]]:
    wait_until(lambda: len(services.naps("begin")) >= count, 20, f"{count} naps begun")
    return services.naps("begin")


async def test_an_email_is_delivered_over_starttls_with_an_id_from_the_task(
    http: aiohttp.ClientSession, services: Services, mail: MailServer
) -> None:
    api = services.api()
    services.worker(**by_smtp(mail))
    task_id = await post(http, api, subject="Grüße", recipient="ada@example.com", content="Zeile\nzwei ✓")
    task = await until(http, api, task_id, "completed")
    (message,) = mail.messages
    assert message["Message-ID"] == f"<{task_id}@example.org>" == task["result"]["message_id"]
    assert (message["Subject"], message["To"]) == ("Grüße", "ada@example.com")
    assert message.get_content().splitlines() == ["Zeile", "zwei ✓"]
    assert mail.tls == [True]
    assert task["result"]["response"].startswith("250")


async def test_connections_to_the_mail_server_are_kept(
    http: aiohttp.ClientSession, services: Services, mail: MailServer
) -> None:
    api = services.api()
    services.worker(**by_smtp(mail, SMTP_POOL_SIZE="2"))
    for task_id in [await post(http, api) for _ in range(40)]:
        await until(http, api, task_id, "completed")
    assert len(mail.messages) == 40
    assert mail.connections <= 4, "two connections, each greeting before and after STARTTLS"


@pytest.mark.parametrize("trouble", ["451 try later", "drop"])
async def test_passing_trouble_is_retried_with_the_same_message_id(
    http: aiohttp.ClientSession, services: Services, mail: MailServer, trouble: str
) -> None:
    mail.script.append(trouble)
    api = services.api()
    services.worker(**by_smtp(mail))
    task_id = await post(http, api)
    task = await until(http, api, task_id, "completed")
    assert task["attempts"] == 2
    assert [m["Message-ID"] for m in mail.messages] == [f"<{task_id}@example.org>"]


async def test_a_refusal_for_good_fails_the_task_at_once(
    http: aiohttp.ClientSession, services: Services, mail: MailServer
) -> None:
    mail.script.append("550 no such user")
    api = services.api()
    services.worker(**by_smtp(mail))
    task = await until(http, api, await post(http, api), "failed")
    assert task["attempts"] == 1
    assert "550 no such user" in task["result"]["error"]


async def test_a_simulated_delivery_says_so(http: aiohttp.ClientSession, services: Services) -> None:
    api = services.api()
    services.worker()
    task = await until(http, api, await post(http, api), "completed")
    assert task["result"]["transport"] == "simulate"
    assert "nothing was sent" in task["result"]["response"]


async def test_a_second_type_is_one_file_and_the_api_checks_its_payload(
    http: aiohttp.ClientSession, services: Services
) -> None:
    api = services.api()
    services.worker()
    task = await until(http, api, await post(http, api, "reverse", text="abc"), "completed")
    assert task["result"] == {"text": "cba"}
    wrong = {"type": "reverse", "data": {"text": 1, "more": 2}}
    async with http.post(f"{api}/tasks", json=wrong) as answer:
        assert answer.status == 422
        fields = {f["field"] for f in (await answer.json())["fields"]}
    assert fields == {"data.text", "data"}


async def test_an_error_is_retried_until_the_attempts_are_used_up(
    http: aiohttp.ClientSession, services: Services
) -> None:
    api = services.api()
    services.worker()
    broken = await post(http, api, "nap", seconds=0, fail="broken")
    hopeless = await post(http, api, "nap", seconds=0, fail="permanent")
    task = await until(http, api, broken, "failed")
    assert (task["attempts"], task["result"]["error"]) == (2, "broken")
    assert (await until(http, api, hopeless, "failed"))["attempts"] == 1


async def test_tasks_of_a_killed_worker_are_taken_up_within_12_seconds(
    http: aiohttp.ClientSession, services: Services
) -> None:
    api = services.api()
    doomed = services.worker(WORKER_CONCURRENCY="5")
    ids = [await post(http, api, "nap", seconds=3600) for _ in range(5)]
    await begun(services, 5)
    services.worker(WORKER_CONCURRENCY="5")
    doomed.signal(signal.SIGKILL)
    again = wait_until(lambda: len(services.naps("begin")) == 10, 15, "taken up by the other")
    assert again <= 12
    assert sorted(i for i, pid in services.naps("begin") if pid != doomed.pid) == sorted(ids)


async def test_sigterm_finishes_what_is_under_way_and_ends_with_0(
    http: aiohttp.ClientSession, services: Services
) -> None:
    api = services.api()
    worker = services.worker(WORKER_CONCURRENCY="2")
    running = [await post(http, api, "nap", seconds=1.5) for _ in range(2)]
    waiting = [await post(http, api, "nap", seconds=0) for _ in range(3)]
    await begun(services, 2)
    worker.signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    assert [(await show(http, api, i))["status"] for i in running] == ["completed"] * 2
    assert [(await show(http, api, i))["status"] for i in waiting] == ["queued"] * 3


async def test_what_outlives_the_grace_period_is_handed_back_at_once(
    http: aiohttp.ClientSession, services: Services
) -> None:
    api = services.api()
    worker = services.worker(SHUTDOWN_GRACE_S="0.5")
    task_id = await post(http, api, "nap", seconds=3600)
    await begun(services, 1)
    worker.signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    assert (await show(http, api, task_id))["status"] == "queued"
    services.worker()
    assert wait_until(lambda: len(services.naps("begin")) == 2, 5, "taken up by another") < 1


async def test_a_worker_frozen_past_its_lease_causes_no_second_effect(
    http: aiohttp.ClientSession, services: Services
) -> None:
    api = services.api()
    short = {"LEASE_S": "2", "RENEW_S": "0.5"}
    frozen = services.worker(**short)
    task_id = await post(http, api, "nap", seconds=1)
    await begun(services, 1)
    frozen.signal(signal.SIGSTOP)
    services.worker(**short)
    task = await until(http, api, task_id, "completed")
    frozen.signal(signal.SIGCONT)
    # It is alive again, and knows that it lost the task, once it takes new ones.
    for _ in range(20):
        await until(http, api, await post(http, api, "nap", seconds=0), "completed")
    wait_until(lambda: any(pid == frozen.pid for _, pid in services.naps("begin")[2:]), 20, "thawed")
    effects = [pid for i, pid in services.naps("effect") if i == task_id]
    assert len(effects) == 1
    assert effects[0] != frozen.pid
    assert task["attempts"] == 2


async def test_a_task_that_runs_for_many_leases_is_run_once(
    http: aiohttp.ClientSession, services: Services
) -> None:
    api = services.api()
    short = {"LEASE_S": "1", "RENEW_S": "0.3"}
    services.worker(**short)
    services.worker(**short)
    task = await until(http, api, await post(http, api, "nap", seconds=4), "completed")
    assert task["attempts"] == 1
    assert len(services.naps("begin")) == 1


async def test_an_idle_worker_makes_at_most_two_calls_a_second(
    services: Services, redis: RedisServer
) -> None:
    services.worker()

    def calls() -> int:
        names = ("cmdstat_evalsha:", "cmdstat_blpop:", "cmdstat_eval:", "cmdstat_ping:")
        lines = redis.cli("info", "commandstats").splitlines()
        return sum(int(x.split("calls=")[1].split(",")[0]) for x in lines if x.startswith(names))

    before, began = calls(), time.monotonic()
    wait_until(lambda: time.monotonic() - began > 6, 10, "an idle while")
    assert (calls() - before) / (time.monotonic() - began) <= 2


@pytest.fixture
def fragile(own_redis: RedisServer, tmp_path: Path) -> Iterator[Services]:
    started = Services(own_redis.url, tmp_path)
    yield started
    started.end()


async def test_a_worker_survives_a_restart_of_redis_and_loses_nothing(
    http: aiohttp.ClientSession, fragile: Services, own_redis: RedisServer
) -> None:
    own_redis.cli("config", "set", "appendfsync", "always")
    api = fragile.api()
    worker = fragile.worker(WORKER_CONCURRENCY="3")
    ids = [await post(http, api, "nap", seconds=0.3) for _ in range(20)]
    await begun(fragile, 4)
    own_redis.kill()
    own_redis.start()
    for task_id in ids:
        await until(http, api, task_id, "completed", 40)
    effects = [i for i, _ in fragile.naps("effect")]
    assert sorted(set(effects)) == sorted(ids)
    assert worker.running()


def test_all_wrong_settings_are_told_at_once(services: Services) -> None:
    env = {"EMAIL_TRANSPORT": "pigeon", "SMTP_PORT": "0", "WORKER_CONCURRENCY": "0", "LEASE_S": "x"}
    status, output = services.run_to_end("worker", env)
    assert status == 2
    assert [name for name in env if name not in output] == []
    status, output = services.run_to_end("worker", {"WORKER_HANDLERS": "nowhere"})
    assert (status, "nowhere" in output) == (2, True)


async def test_logs_about_a_task_carry_its_id_and_no_secret(
    http: aiohttp.ClientSession, services: Services, tmp_path: Path
) -> None:
    mail = MailServer(tmp_path, password="a-canary-password")
    try:
        api = services.api()
        login = {"SMTP_USERNAME": "user", "SMTP_PASSWORD": "a-canary-password"}
        worker: Process = services.worker(**by_smtp(mail, **login))
        task_id = await post(http, api)
        await until(http, api, task_id, "completed")
    finally:
        mail.end()
    log = worker.log.read_text()
    assert [line for line in log.splitlines() if "delivered" in line and task_id in line]
    assert "a-canary-password" not in log


async def test_a_refused_login_waits_and_burns_no_attempts(
    http: aiohttp.ClientSession, services: Services, tmp_path: Path
) -> None:
    mail = MailServer(tmp_path, password="right")
    try:
        api = services.api()
        services.worker(**by_smtp(mail, SMTP_USERNAME="user", SMTP_PASSWORD="wrong"))
        task: dict[str, Any] = await until(http, api, await post(http, api), "scheduled")
    finally:
        mail.end()
    assert "login refused" in task["result"]["error"]
    assert task["attempts"] == 0
