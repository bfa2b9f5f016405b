"""Shows that the deployed system works: posts one e-mail and follows it to the mail server."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from infra.steps import DeployError, say
from infra.target import Target

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_ANSWER_LIMIT_S = 5.0


def call(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """JSON from an HTTP call; urllib's errors when it fails."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310
    with _OPENER.open(request, timeout=_ANSWER_LIMIT_S) as answer:
        return cast(dict[str, Any], json.loads(answer.read() or b"{}"))


def url_of(target: Target, namespace: str, service: str, node_address: str) -> str | None:
    """Where a Service is reached from outside, by what Kubernetes says of it; None where it is not."""
    found = target.get("service", service, "-n", namespace)
    spec, status = found.get("spec", {}), found.get("status", {})
    if spec.get("type") == "NodePort":
        return f"http://{node_address}:{spec['ports'][0]['nodePort']}"
    entries = status.get("loadBalancer", {}).get("ingress", [])
    address = entries[0].get("hostname") or entries[0].get("ip") if entries else None
    return f"http://{address}" if address else None


@dataclass(frozen=True, kw_only=True)
class Door:
    """A Service of the deployed system, and a path on which it answers."""

    service: str
    port: int
    path: str


API = Door(service="api-service", port=80, path="/health")
MAIL = Door(service="mail-service", port=8025, path="/healthz")


@contextmanager
def reach(
    target: Target, namespace: str, door: Door, url: str | None, limit_s: float = 15
) -> Generator[str, None, None]:
    """A URL that answers: the given one, else a port-forward for as long as it is needed."""
    if url and _answers(url + door.path, limit_s):
        yield url
        return
    forward = target.start_port_forward(namespace, door.service, door.port)
    try:
        line = forward.stdout.readline() if forward.stdout else ""
        # "Forwarding from 127.0.0.1:43210 -> 80"
        port = line.partition("127.0.0.1:")[2].split(" ")[0]
        if not port or not _answers(f"http://127.0.0.1:{port}{door.path}", limit_s):
            raise DeployError(f"{door.service} does not answer, neither at {url} nor by kubectl port-forward")
        yield f"http://127.0.0.1:{port}"
    finally:
        forward.terminate()
        forward.wait()


def _answers(url: str, limit_s: float) -> bool:
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit:
        try:
            with _OPENER.open(url, timeout=2):
                return True
        except (OSError, ValueError):
            time.sleep(0.3)
    return False


def send_one(url: str, recipient: str, limit_s: float = 60) -> dict[str, Any]:
    """Posts an e-mail and follows it to its end; DeployError when it is not completed in time."""
    data = {
        "subject": "The task queue works",
        "recipient": recipient,
        "content": "Accepted by the API, kept in Redis, delivered by a worker.",
    }
    try:
        accepted = call(f"{url}/tasks", {"type": "email", "data": data})
        say(f"    POST {url}/tasks -> {accepted['task_id']} {accepted['status']}")
        limit, task = time.monotonic() + limit_s, dict[str, Any]()
        while task.get("status") not in ("completed", "failed") and time.monotonic() < limit:
            time.sleep(0.2)
            task = call(f"{url}/tasks/{accepted['task_id']}")
    except (urllib.error.URLError, OSError, ValueError, KeyError) as error:
        raise DeployError(f"the API at {url} did not take an e-mail: {error}") from None
    say(f"    GET {url}/tasks/{accepted['task_id']} -> {task.get('status')}")
    if task.get("status") != "completed":
        raise DeployError(f"the e-mail was not delivered within {limit_s:.0f} s: {json.dumps(task)}")
    return task


def delivery_of(url: str, task_id: str, limit_s: float = 10) -> dict[str, Any]:
    """What the mail server has of a task's e-mail; DeployError when it has nothing."""
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit:
        messages = cast(list[dict[str, Any]], call(f"{url}/messages").get("messages", []))
        found = [message for message in messages if task_id in str(message.get("message_id"))]
        if found:
            return found[-1]
        time.sleep(0.2)
    raise DeployError(f"the mail server at {url} has no e-mail of task {task_id}")
