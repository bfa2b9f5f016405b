"""Ask components and the API server how they are."""

import http.client
import json
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.local.paths import Paths
from infra.local.settings import Settings


def answers(health: str, within_s: float = 2.0) -> bool:
    """Whether a component's health address answers: `unix:PATH`, `tcp:HOST:PORT` or an http(s) URL."""
    kind, _, rest = health.partition(":")
    try:
        if kind == "unix":
            return _connects(socket.AF_UNIX, rest, within_s)
        if kind == "tcp":
            host, _, port = rest.rpartition(":")
            return _connects(socket.AF_INET, (host, int(port)), within_s)
        with urllib.request.urlopen(health, timeout=within_s, context=_unverified()) as answer:  # noqa: S310
            return answer.status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def _connects(family: socket.AddressFamily, address: str | tuple[str, int], within_s: float) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(within_s)
        connection.connect(address)
    return True


def _unverified() -> ssl.SSLContext:
    """For questions without a secret in them: some components sign their own certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class ApiServer:
    """Reads from the API server as its administrator."""

    def __init__(self, settings: Settings, paths: Paths) -> None:
        self._url = settings.api_url
        self._pki = paths.pki
        self._context: ssl.SSLContext | None = None

    def get(self, path: str, within_s: float = 3.0) -> Any:
        """The JSON (or text) at a path; OSError if there is no answer or not a good one."""
        if self._context is None:
            self._context = _mutual(self._pki)
        url = self._url + path
        try:
            with urllib.request.urlopen(url, timeout=within_s, context=self._context) as answer:  # noqa: S310
                body = answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"{url}: {error!r}") from error
        return json.loads(body) if body[:1] == b"{" else body.decode()

    def is_ready(self) -> bool:
        """Whether the API server says it is ready."""
        try:
            return self.get("/readyz") == "ok"
        except (OSError, ValueError):
            return False

    def has_condition(self, path: str, condition: str) -> bool:
        """Whether the object at `path` has a status condition of this type that is True."""
        try:
            status = self.get(path).get("status", {})
        except (OSError, ValueError):
            return False
        return any(
            each["type"] == condition and each["status"] == "True" for each in status.get("conditions", [])
        )


def _mutual(pki: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
    return context


def wait(condition: Callable[[], bool], within_s: float, every_s: float = 0.1) -> bool:
    """Ask until the condition holds or the time is over; whether it held."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(every_s)
    return True
