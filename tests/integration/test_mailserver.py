"""The load test's mail server with real workers, the refusal of other targets, and Locust against both."""

import json
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path

import pytest

from loadtest.endpoints import Api, MailServer
from loadtest.generator import Generator, LoadEndedError
from loadtest.guard import RefusedError, assure_harmless
from loadtest.mails import Mail
from loadtest.settings import RESERVED_DOMAIN
from tests.fixtures.processes import ROOT, Process, Services, answers, free_port, wait_until


@dataclass(frozen=True)
class Running:
    smtp_port: int
    url: str

    @property
    def ledger(self) -> MailServer:
        return MailServer(self.url)

    def worker_env(self) -> dict[str, str]:
        return {
            "EMAIL_TRANSPORT": "smtp", "EMAIL_SENDER": "queue@example.com", "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self.smtp_port), "SMTP_TLS": "starttls", "SMTP_TLS_VERIFY": "false",
        }  # fmt: skip


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("go") is None:
        raise RuntimeError("go is not installed: the mail server cannot be built")
    path = tmp_path_factory.mktemp("mailserver") / "mailserver"
    subprocess.run(["go", "build", "-o", str(path), "."], cwd=ROOT / "loadtest" / "mailserver", check=True)
    return path


@pytest.fixture
def running(program: Path, tmp_path: Path) -> Iterator[Running]:
    smtp, http = free_port(), free_port()
    env = {"SMTP_ADDR": f"127.0.0.1:{smtp}", "HTTP_ADDR": f"127.0.0.1:{http}"}
    process = Process([str(program)], env, tmp_path / "mailserver.log")
    url = f"http://127.0.0.1:{http}"
    wait_until(lambda: answers(f"{url}/healthz"), 10, "the mail server answers")
    yield Running(smtp, url)
    process.signal(signal.SIGTERM)
    assert process.wait(10) == 0


@pytest.fixture
def api_url(services: Services, running: Running) -> str:
    """An API whose worker delivers to the mail server."""
    services.worker(**running.worker_env())
    return services.api()


def _message(task_id: str) -> EmailMessage:
    message = EmailMessage()
    message["Message-ID"], message["Subject"] = f"<{task_id}@example.com>", "Grüße"
    message.set_content("Hallo\n.\n..two dots\n")
    return message


def test_a_plain_client_delivers_with_and_without_tls(running: Running) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for task_id, tls in (("one", True), ("two", False)):
        with smtplib.SMTP("127.0.0.1", running.smtp_port, timeout=10) as client:
            if tls:
                client.starttls(context=context)
            client.send_message(_message(task_id), "a@example.com", ["b@load.example.com"])
    assert [line.task_id for line in running.ledger.after(0)] == ["one", "two"]


def test_the_digest_is_of_the_mail_as_it_was_received(running: Running) -> None:
    with smtplib.SMTP("127.0.0.1", running.smtp_port, timeout=10) as client:
        client.send_message(_message("one"), "a@example.com", ["b@load.example.com"])
    (line,) = running.ledger.after(0)
    with urllib.request.urlopen(f"{running.url}/messages/{line.seq}", timeout=10) as answer:
        raw = answer.read()
    assert sha256(raw).hexdigest() == line.sha256
    assert b"\r\n.\r\n..two dots\r\n" in raw


def test_the_health_check_tells_a_running_server_from_none(program: Path, running: Running) -> None:
    def health(port: str) -> int:
        env = {"HTTP_ADDR": f"127.0.0.1:{port}"}
        return subprocess.run([str(program), "-health"], env=env, check=False, capture_output=True).returncode

    assert health(running.url.rpartition(":")[2]) == 0
    assert health(str(free_port())) == 1


def test_a_worker_delivers_a_posted_task_under_its_id(running: Running, api_url: str) -> None:
    recipient = f"ada+tag@{RESERVED_DOMAIN}"
    task_id = Api(api_url).post(Mail(subject="ご注文", recipient=recipient, content="Hello\n"))
    wait_until(lambda: running.ledger.last_seq() == 1, 20, "the mail is in the ledger")
    (line,) = running.ledger.after(0)
    assert (line.task_id, line.recipient) == (task_id, recipient)


def test_a_target_that_delivers_to_the_mail_server_may_be_loaded(running: Running, api_url: str) -> None:
    probe = assure_harmless(api_url, running.url, RESERVED_DOMAIN)
    assert probe is not None
    assert [line.task_id for line in running.ledger.after(0)] == [probe.task_id]


def test_a_target_that_delivers_elsewhere_is_refused(running: Running, services: Services) -> None:
    services.worker(EMAIL_TRANSPORT="simulate")
    with pytest.raises(RefusedError, match="did not reach"):
        assure_harmless(services.api(), running.url, RESERVED_DOMAIN, timeout_s=4)


def test_a_target_without_a_mail_server_is_refused_before_anything_is_sent(services: Services) -> None:
    api_url = services.api()
    for mail_url in (f"http://127.0.0.1:{free_port()}", api_url):
        with pytest.raises(RefusedError):
            assure_harmless(api_url, mail_url, RESERVED_DOMAIN)
    assert Api(api_url).queue()["total_tasks"] == 0


def test_recipients_that_could_be_people_are_refused_unless_named() -> None:
    with pytest.raises(RefusedError, match="real people"):
        assure_harmless("http://127.0.0.1:1", "http://127.0.0.1:1", "company.com")
    assert assure_harmless("http://x", "http://x", "company.com", named="company.com") is None
    with pytest.raises(RefusedError):
        assure_harmless("http://127.0.0.1:1", "http://127.0.0.1:1", "company.com", named="other.com")


def test_locust_posts_at_the_rate_asked_for_and_all_of_it_arrives_once(
    running: Running, api_url: str, tmp_path: Path
) -> None:
    generator = Generator(
        tmp_path / "load", api_url, 20, tag="t", domain=RESERVED_DOMAIN, most_s=60
    )  # fmt: skip
    with generator:
        generator.start()

        def enough() -> bool:
            generator.read()
            generator.assure_running()
            return len(generator.accepted) >= 100 and generator.followed >= 1

        seconds = wait_until(enough, 40, "a hundred e-mails accepted and one followed")
    assert generator.failed == 0, generator.failures
    assert seconds < 20  # at twenty a second, with Locust's own start
    wait_until(lambda: running.ledger.last_seq() >= len(generator.accepted), 20, "all are delivered")
    lines = list(running.ledger.after(0))
    assert sorted(line.task_id for line in lines) == sorted(generator.accepted)
    assert all("+t@" in line.recipient for line in lines)
    assert len({line.sha256 for line in lines}) == len(lines)


def test_load_that_ends_by_itself_is_told_with_locusts_own_words(tmp_path: Path) -> None:
    directory = tmp_path / "load"
    with Generator(directory, "not a url", 5, tag="t", domain=RESERVED_DOMAIN, most_s=1) as generator:
        generator.start()

        def ended() -> bool:
            try:
                generator.assure_running()
            except LoadEndedError as ended:
                assert "Locust ended with code" in str(ended)  # noqa: PT017 - the words are what is tested
                return True
            return False

        wait_until(ended, 30, "Locust has ended")


def test_locust_refuses_a_target_that_takes_no_probe(running: Running) -> None:
    target = ["--api-url", f"http://127.0.0.1:{free_port()}", "--run-time", "3s"]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.web", "--headless", *target], cwd=ROOT, timeout=60, check=False,
        env={"LOAD_MAIL_URL": running.url, "PATH": "/usr/bin"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-500:]
    assert "refused:" in done.stdout


def test_the_web_page_answers_at_the_printed_address(tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "web.log"
    process = Process(
        [sys.executable, "-m", "loadtest.web", "--shape", "spike", "--port", str(port)], {}, log
    )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), 30, "Locust's page answers")
        assert f"http://127.0.0.1:{port}" in log.read_text()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests", timeout=10) as answer:
            assert json.loads(answer.read())["state"] == "ready"
    finally:
        process.signal(signal.SIGTERM)
        process.wait(20)
