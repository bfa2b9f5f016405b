"""Keeps load away from what sends real mail: a probe must reach the test mail server before any load."""

import time
from dataclasses import dataclass

from loadtest.endpoints import Api, HTTPError, MailServer
from loadtest.mails import Mail

RESERVED = ("example.com", "example.org", "example.net", "example", "test", "invalid")
"""RFC 2606, 2 and 3: names that no one can own; mail to them reaches nobody."""
PROBE_TIMEOUT_S = 30.0
POLL_S = 0.2


class RefusedError(Exception):
    """The target may send real mail, or nobody can say that it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The mail that showed where the target delivers to."""

    task_id: str
    seconds: float


def is_reserved(domain: str) -> bool:
    """Whether a domain can belong to nobody."""
    name = domain.lower().rstrip(".")
    return any(name == reserved or name.endswith(f".{reserved}") for reserved in RESERVED)


def assure_harmless(
    api_url: str, mail_url: str, domain: str, *, named: str | None = None, timeout_s: float = PROBE_TIMEOUT_S
) -> Probe | None:
    """Send one probe and see it arrive at the test mail server.

    `named` is the domain that the caller, by name, allows real mail to be sent to: then nothing is probed and
    None is returned. Raises RefusedError when the target may send real mail, or is away.
    """
    if named is not None and named == domain:
        return None
    if not is_reserved(domain):
        raise RefusedError(f"recipients at {domain} could be real people: only reserved domains are loaded")
    api, mail_server = Api(api_url), MailServer(mail_url)
    try:
        return _probe(api, mail_server, domain, timeout_s)
    finally:
        api.close()
        mail_server.close()


def _probe(api: Api, mail_server: MailServer, domain: str, timeout_s: float) -> Probe:
    try:
        if "ledger" not in mail_server.stats():
            raise RefusedError(f"{mail_server.url} is not the test mail server")
        before = mail_server.last_seq()
    except (HTTPError, ValueError, KeyError) as fault:
        raise RefusedError(
            f"no test mail server at {mail_server.url} ({fault}): mail could go anywhere"
        ) from fault
    started = time.monotonic()
    mail = Mail(subject="Probe", recipient=f"probe@{domain}", content="Where is this delivered to?\n")
    try:
        task_id = api.post(mail)
    except (HTTPError, ValueError, KeyError) as fault:
        raise RefusedError(f"the API at {api.url} takes no task: {fault}") from fault
    while time.monotonic() < started + timeout_s:
        if any(delivery.task_id == task_id for delivery in mail_server.after(before)):
            return Probe(task_id=task_id, seconds=time.monotonic() - started)
        time.sleep(POLL_S)
    raise RefusedError(
        f"the probe {task_id} did not reach {mail_server.url} within {timeout_s:g} s (status now: "
        f"{_status(api, task_id)}): the workers deliver elsewhere, only simulate, or do not work"
    )


def _status(api: Api, task_id: str) -> str:
    try:
        return api.status(task_id)
    except (HTTPError, ValueError, KeyError) as fault:
        return f"unknown, {fault}"
