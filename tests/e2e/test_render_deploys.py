"""Rendered objects on a real cluster: as a person applies them, and as `make up` does without Pulumi."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from infra import proof
from infra.images import ROOT
from infra.target import Target
from tests.e2e.conftest import SMALL, Deployed, deliveries, until

REFS = ["--image", "api=r.test/api:1", "--image", "worker=r.test/worker:1", "--image", "mail=r.test/mail:1"]
PASSWORD = {"TASK_QUEUE_SECRET_REDIS_PASSWORD": "a-password-for-tests"}


def module(
    cluster: Target, *words: str, secrets: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**cluster.environment(), **(secrets or {})},
        capture_output=True,
        text=True,
        timeout=420,
        check=False,
    )


def deploy(deployed: Deployed, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    settings: Sequence[str] = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    return module(
        deployed.cluster, "infra.deploy", command, "--namespace", deployed.namespace, *settings, *words
    )


@pytest.mark.parametrize(
    ("stack", "settings"),
    [
        ("local", []),
        ("dev", ["api.ingress.host=tasks.test", "api.ingress.tlsSecret=t"]),
        ("prod", ["email.transport=smtp", "email.smtp.host=smtp.test", "redis.storageClass=fast"]),
    ],
)
def test_the_api_server_takes_every_stack_s_objects_by_its_strict_rules(
    cluster: Target, stack: str, settings: list[str]
):
    overrides = [
        "createNamespace=false",
        "api.service.nodePort=null",
        "mail.service.nodePort=null",
        *settings,
    ]
    words = [word for override in overrides for word in ("--set", override)]
    rendered = module(
        cluster, "infra.render", "--stack", stack, "--namespace", "default", "--with-secrets", *REFS, *words,
        secrets=PASSWORD,
    )  # fmt: skip
    assert rendered.returncode == 0, rendered.stderr
    said = cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", given=rendered.stdout
    )
    assert said.count("serverside-applied") == rendered.stdout.count("\nkind: ")


@pytest.mark.timeout(900)
def test_without_pulumi_it_is_deployed_changed_and_removed(deployed: Deployed):
    first = deploy(deployed, "up", "--method", "render")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "the mail server took it" in first.stdout
    _runs_as_a_restricted_user(deployed)

    before = {kind: deployed.get(kind, name)["metadata"]["generation"] for kind, name in WORKLOADS}
    again = deploy(deployed, "up", "--method", "auto")
    assert "by render" in again.stdout, again.stdout + again.stderr
    assert {kind: deployed.get(kind, name)["metadata"]["generation"] for kind, name in WORKLOADS} == before

    other = deploy(deployed, "up", "--method", "pulumi")
    assert other.returncode == 1
    assert "was deployed by render" in other.stderr

    old = deployed.names("configmap")
    changed = deploy(deployed, "up", "--method", "render", "--set", "worker.concurrency=3")
    assert changed.returncode == 0, changed.stdout + changed.stderr
    gone = old - deployed.names("configmap")
    assert [name.rsplit("-", 1)[0] for name in gone] == ["task-worker-config"]

    with deployed.reached() as (api, mail):
        task = proof.send_one(api, "someone@example.com")
        until(
            lambda: task["id"] in {d["task_id"] for d in deliveries(mail)}, "the mail server has the e-mail"
        )

    removed = deploy(deployed, "down", "--keep-cluster")
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert deployed.cluster.get("namespace", deployed.namespace) == {}


WORKLOADS = (("deployment", "task-api"), ("statefulset", "redis"))


def _runs_as_a_restricted_user(deployed: Deployed) -> None:
    """As the pods are, not as they were declared."""
    for workload, path in (
        ("deployment/task-api", "/app/x"),
        ("deployment/task-worker", "/app/x"),
        ("statefulset/redis", "/x"),
    ):
        exec_in = ["-n", deployed.namespace, "exec", workload, "--"]
        assert deployed.cluster.kubectl(*exec_in, "id", "-u").strip() == "10001"
        said = deployed.cluster.kubectl(*exec_in, "sh", "-c", f"touch {path} 2>&1 || true")
        assert "Read-only file system" in said
        mounted = deployed.cluster.kubectl(
            *exec_in, "sh", "-c", "ls /var/run/secrets/kubernetes.io 2>&1 || true"
        )
        assert "No such file" in mounted
