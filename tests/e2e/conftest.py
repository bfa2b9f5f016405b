"""A real cluster: the one that KUBECONFIG or CONTEXT names, else the embedded one; a namespace per test."""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from infra import proof, target
from infra.steps import DeployError
from infra.target import Target

# Small enough to run beside a stack of `make up` on two cores; node ports are picked by Kubernetes.
SMALL = {
    "api.service.nodePort": "null",
    "mail.service.nodePort": "null",
    "api.replicas": "2",
    "api.resources.requests.cpu": "20m",
    "worker.resources.requests.cpu": "20m",
    "redis.resources.requests.cpu": "20m",
    "mail.resources.requests.cpu": "20m",
    "worker.autoscaling.maxReplicas": "4",
}


@pytest.fixture(scope="session")
def cluster() -> Target:
    """The cluster under test, started if it is the embedded one and not running."""
    aimed = target.from_environment()
    if aimed.embedded and not target.is_running(aimed):
        target.start_embedded()
    return aimed


@pytest.fixture
def namespace(cluster: Target) -> Generator[str, None, None]:
    """A namespace's name that no one else uses; whatever is left in it is deleted."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    # Not waited for: the next test has a namespace of its own.
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


@dataclass
class Sender:
    """Posts e-mails in a thread of its own, at a set rate, until it is told to stop."""

    url: str
    per_second: float
    accepted: list[str] = field(default_factory=list[str])
    failed: list[str] = field(default_factory=list[str])
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(1 / self.per_second):
            number += 1
            data = {
                "subject": f"Under change {number}",
                "recipient": "you@example.com",
                "content": "..." * 50,
            }
            try:
                self.accepted.append(
                    proof.call(f"{self.url}/tasks", {"type": "email", "data": data})["task_id"]
                )
            except (OSError, ValueError) as error:
                self.failed.append(repr(error))

    def __enter__(self) -> "Sender":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """The system in a namespace, as the outside reaches it."""

    cluster: Target
    namespace: str

    @contextlib.contextmanager
    def reached(self) -> Generator[tuple[str, str], None, None]:
        """URLs of API and mail server."""
        with contextlib.ExitStack() as stack:
            urls = [self._url(stack, door) for door in (proof.API, proof.MAIL)]
            yield urls[0], urls[1]

    def _url(self, stack: contextlib.ExitStack, door: proof.Door) -> str:
        known = proof.url_of(self.cluster, self.namespace, door.service, "127.0.0.1")
        return stack.enter_context(proof.reach(self.cluster, self.namespace, door, known, limit_s=30))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """An object as it is in the cluster; an empty dict if it is not."""
        return self.cluster.get(kind, name, "-n", self.namespace)

    def names(self, kind: str) -> set[str]:
        """Names of the stack's objects of a kind."""
        found = self.cluster.get(kind, "-n", self.namespace, "-l", "app.kubernetes.io/part-of=task-queue")
        return {item["metadata"]["name"] for item in found.get("items", [])}


@pytest.fixture
def deployed(cluster: Target, namespace: str) -> Deployed:
    """What the test will have deployed in its namespace."""
    return Deployed(cluster=cluster, namespace=namespace)


def until(condition: Callable[[], bool], what: str, limit_s: float = 60) -> None:
    """Waits for a condition; fails with what it was waited for."""
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit:
        with contextlib.suppress(OSError, ValueError, DeployError):
            if condition():
                return
        time.sleep(0.3)
    pytest.fail(f"not within {limit_s:.0f} s: {what}")


def delivered_exactly_once(mail_url: str, accepted: list[str]) -> bool:
    """Whether the mail server has each accepted e-mail once; duplicates fail at once."""
    stats = proof.call(f"{mail_url}/stats")
    assert stats["duplicates"] == 0, stats
    known = {entry["task_id"] for entry in deliveries(mail_url)}
    return set(accepted) <= known


def deliveries(mail_url: str) -> list[dict[str, Any]]:
    """Every delivery that the mail server keeps."""
    found: list[dict[str, Any]] = []
    after = 0
    while True:
        page = proof.call(f"{mail_url}/deliveries?after={after}&limit=1000")
        found += page["deliveries"]
        if not page["deliveries"]:
            return found
        after = page["next"]
