"""The two HTTP services that a load test talks to: the task API, and the mail server it delivers to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self, cast

import httpx2

from loadtest.mails import Mail

TIMEOUT_S = 5.0
PAGE = 10_000

HTTPError = httpx2.HTTPError
"""What every method here raises when the other side is away or answers with an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One line of the mail server's ledger."""

    seq: int
    task_id: str
    recipient: str
    at: str
    sha256: str
    client: str = ""
    """IP address that it came from."""

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Self:
        """From the mail server's words; of several recipients, the first."""
        recipients = cast("list[str]", line["recipients"])
        return cls(
            seq=line["seq"], task_id=line["task_id"], recipient=recipients[0] if recipients else "",
            at=line["at"], sha256=line["sha256"], client=line.get("client", ""),
        )  # fmt: skip


class Endpoint:
    """An HTTP service by its base URL, over one kept connection."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._client = httpx2.Client(base_url=self.url, timeout=TIMEOUT_S, trust_env=False)

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path."""
        return cast("dict[str, Any]", self._client.get(path).raise_for_status().json())


class Api(Endpoint):
    """The task API."""

    def post(self, mail: Mail) -> str:
        """Ask for an e-mail; its task's id."""
        answer = self._client.post("/tasks", json={"type": "email", "data": mail}).raise_for_status()
        return str(answer.json()["task_id"])

    def status(self, task_id: str) -> str:
        """A task's status."""
        return str(self.get(f"/tasks/{task_id}")["status"])

    def queue(self) -> dict[str, Any]:
        """The queue's figures."""
        return self.get("/queue/stats")


class MailServer(Endpoint):
    """The mail server whose ledger tells what really arrived."""

    def stats(self) -> dict[str, Any]:
        """Counts since its start; `ledger` changes when it starts again."""
        return self.get("/stats")

    def after(self, seq: int) -> Iterator[Delivery]:
        """Every delivery past a sequence number, oldest first, page by page."""
        while True:
            page = self.get(f"/deliveries?after={seq}&limit={PAGE}")
            lines = cast("list[dict[str, Any]]", page["deliveries"])
            yield from map(Delivery.from_json, lines)
            seq = int(page["next"])
            if len(lines) < PAGE:
                return

    def last_seq(self) -> int:
        """The sequence number of the newest delivery."""
        low, high = 0, 1  # by halving: a ledger of a million lines is not read for one number
        while self._has_after(high):
            low, high = high, high * 2
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._has_after(middle) else (low, middle)
        return low

    def _has_after(self, seq: int) -> bool:
        return bool(self.get(f"/deliveries?after={seq}&limit=1")["deliveries"])
