"""A stack's whole life by `pulumi` as a user types it, from its first preview to its end."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import engine, proof, stackfile
from infra.images import ROOT
from infra.manifests import manifests
from infra.settings import load
from infra.target import Target, advertised_registry
from tests.e2e.conftest import SMALL, Deployed, Sender, delivered_exactly_once, until

WHY_NOT = engine.why_not()
pytestmark = [
    pytest.mark.skipif(WHY_NOT is not None, reason=f"Pulumi cannot be used here: {WHY_NOT}"),
    pytest.mark.timeout(1200),
]
STACK = "local"
PASSWORD = "a-password-for-tests"
# Everything of the stack `local`: 24 Kubernetes objects, 3 images, 8 components, the stack itself.
RESOURCES = 36


class Pulumi:
    """The command line, run from the root of a checkout."""

    def __init__(self, checkout: Path, environment: Mapping[str, str]) -> None:
        self._checkout = checkout
        self._environment = dict(environment)

    def __call__(self, *words: str, given: str | None = None) -> str:
        done = subprocess.run(
            ["pulumi", *words, "--non-interactive"],
            cwd=self._checkout,
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, f"pulumi {' '.join(words)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def changes(self) -> dict[str, int]:
        """What the last update did: number of resources by kind of change."""
        return json.loads(self("stack", "history", "--json", "--page-size", "1"))[0]["resourceChanges"]

    def outputs(self) -> dict[str, Any]:
        return json.loads(self("stack", "output", "--json"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this checkout, which the test may change; it has the same virtual environment."""
    copy = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    return copy


@pytest.fixture
def pulumi(checkout: Path, cluster: Target, tmp_path: Path) -> Pulumi:
    """Pulumi with a backend and a passphrase of the test's own."""
    backend = tmp_path / "backend"
    backend.mkdir()
    environment = {
        **cluster.environment(),
        "PATH": f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_BACKEND_URL": backend.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "for tests",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    return Pulumi(checkout, environment)


def registry_of(cluster: Target) -> str:
    found = advertised_registry(cluster)
    if found is None:
        pytest.skip("this cluster advertises no local registry to push test images to")
    return f"{found.push}/test"


def configure(pulumi: Pulumi, deployed: Deployed) -> None:
    """What a user types before the first `pulumi up`."""
    pulumi("stack", "init", STACK)
    pulumi("config", "set", "namespace", deployed.namespace)
    pulumi("config", "set", "--path", "images.registry", registry_of(deployed.cluster))
    if deployed.cluster.embedded:
        pulumi("config", "set", "--path", "redis.image", "127.0.0.1:5001/library/redis:8")
    if deployed.cluster.context:
        pulumi("config", "set", "kubernetes:context", deployed.cluster.context)
    for path, value in SMALL.items():
        if value == "null":
            pulumi("config", "rm", "--path", path)
        else:
            pulumi("config", "set", "--path", path, value)
    pulumi("config", "set", "--secret", "redisPassword", given=PASSWORD)


def rendered_names(checkout: Path, outputs: dict[str, Any], mail: str) -> set[tuple[str, str]]:
    """What `render` makes of the same settings."""
    refs = {"api": outputs["api_image"], "worker": outputs["worker_image"], "mail": mail}
    config = stackfile.read(
        STACK, overrides=[f"images.{name}={ref}" for name, ref in refs.items()],
        secrets={"redisPassword": PASSWORD}, root=checkout,
    )  # fmt: skip
    return {(o["kind"], o["metadata"]["name"]) for o in manifests(load(config), STACK)}


def pulumi_s_objects(pulumi: Pulumi) -> dict[tuple[str, str], dict[str, Any]]:
    """What Pulumi says it made, by kind and name."""
    resources = json.loads(pulumi("stack", "export"))["deployment"]["resources"]
    inputs = [
        r["inputs"]
        for r in resources
        if r["type"].startswith("kubernetes:") and "kind" in r.get("inputs", {})
    ]
    return {(i["kind"], i["metadata"]["name"]): i for i in inputs}


def test_a_stack_lives_from_its_first_preview_to_its_end(pulumi: Pulumi, checkout: Path, deployed: Deployed):
    configure(pulumi, deployed)
    preview = json.loads(pulumi("preview", "--json"))
    assert preview["changeSummary"] == {"create": RESOURCES}

    pulumi("up", "--yes", "--skip-preview")
    assert pulumi.changes() == {"create": RESOURCES}
    outputs = pulumi.outputs()
    assert "@sha256:" in outputs["api_image"]
    made = pulumi_s_objects(pulumi)
    mail_image = made["Deployment", "mail"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert set(made) == rendered_names(checkout, outputs, mail_image)

    with deployed.reached() as (api, _):
        assert proof.send_one(api, "someone@example.com")["status"] == "completed"

    pulumi("preview", "--expect-no-changes")
    pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    pulumi("refresh", "--yes", "--skip-preview")
    pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")

    _rolls_a_changed_image_out_under_load(pulumi, checkout, deployed)

    pulumi("destroy", "--yes", "--skip-preview")
    assert deployed.cluster.get("namespace", deployed.namespace) == {}
    assert yaml.safe_load((checkout / "Pulumi.yaml").read_text())["name"] == "task-queue"


def _rolls_a_changed_image_out_under_load(pulumi: Pulumi, checkout: Path, deployed: Deployed) -> None:
    before = pulumi.outputs()
    changed = checkout / "services/taskqueue/__init__.py"
    changed.write_text(changed.read_text() + "\nCHANGED_BY_A_TEST = True\n")
    with deployed.reached() as (api, mail), Sender(api, per_second=10) as sender:
        until(lambda: len(sender.accepted) >= 20, "load is on its way")
        pulumi("up", "--yes", "--skip-preview")
        seen = len(sender.accepted)
        until(lambda: len(sender.accepted) >= seen + 20, "the new version takes load")
        sender.__exit__()
        assert sender.failed == []
        until(lambda: delivered_exactly_once(mail, sender.accepted), "every accepted e-mail is delivered", 90)
    changes = pulumi.changes()
    # Two images and the two Deployments that run them; the mail server stays as it is.
    assert changes == {"same": RESOURCES - 4, "update": 4}
    after = pulumi.outputs()
    assert before["api_image"] != after["api_image"]
    assert before["worker_image"] != after["worker_image"]
