"""What `make up` decides and keeps, without a cluster."""

import http.server
import json
import stat
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra import builders, deploy, engine, rollout, target
from infra.deploystate import DeployState
from infra.plan import Request, plan_for
from infra.steps import DeployError, run_logged
from infra.target import Target
from tests.infra.conftest import objects_with


@dataclass(frozen=True, kw_only=True)
class PlayedTarget(Target):
    """A cluster that answers what the test says and records what it is asked."""

    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    asked: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def kubectl(self, *words: str, given: str | None = None) -> str:
        self.asked.append(words)
        found = next((answer for key, answer in self.answers.items() if key in " ".join(words)), "")
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, str) else json.dumps(found)


def played(tmp_path: Path, **answers: Any) -> PlayedTarget:
    return PlayedTarget(kubeconfig=None, context=None, embedded=False, state=tmp_path, answers=answers)


def managed_by(*managers: str) -> dict[str, Any]:
    return {"metadata": {"managedFields": [{"manager": manager} for manager in managers]}}


HOSTED = {"data": {"localRegistryHosting.v1": json.dumps({"host": "localhost:5001"})}}


def asking(**changes: Any) -> Request:
    """What a command line without options asks for, changed."""
    asked: dict[str, Any] = {
        "stack": "local", "namespace": None, "method": "auto", "overrides": (), "recipient": None,
        "limit_s": 1, "keep_cluster": False,
    }  # fmt: skip
    return Request(**(asked | changes))


def nowhere(_: engine.Engine) -> bool:
    """No stack of that name in our backend."""
    return False


class TestMethod:
    def test_pulumi_is_taken_where_it_can_be_had(self):
        assert deploy.choose_method("auto", None, lambda: None)[0] == "pulumi"

    def test_objects_are_rendered_where_it_cannot_and_the_reason_is_told(self):
        assert deploy.choose_method("auto", None, lambda: "no CLI") == ("render", "no CLI")

    def test_what_is_there_is_continued_by_its_own_method(self):
        assert deploy.choose_method("auto", "render", lambda: None)[0] == "render"
        assert deploy.choose_method("auto", "pulumi", lambda: None)[0] == "pulumi"

    @pytest.mark.parametrize(("wanted", "there"), [("pulumi", "render"), ("render", "pulumi")])
    def test_the_other_method_is_refused_with_what_to_do(self, wanted: str, there: str):
        with pytest.raises(DeployError, match=rf"--method {there}, or remove it first"):
            deploy.choose_method(wanted, there, lambda: None)

    def test_pulumi_that_is_asked_for_but_not_there_is_an_error(self):
        with pytest.raises(DeployError, match="no CLI: https://"):
            deploy.choose_method("pulumi", None, lambda: "no CLI")

    @pytest.mark.parametrize(
        ("managers", "method"),
        [
            (["task-queue-render", "kube-controller-manager"], "render"),
            (["pulumi-kubernetes-1a2b"], "pulumi"),
            ([], None),
        ],
    )
    def test_who_deployed_is_read_from_the_record_of_managers(
        self, tmp_path: Path, managers: list[str], method: str | None
    ):
        assert rollout.deployed_by(played(tmp_path, deployment=managed_by(*managers)), "ns") == method

    def test_without_a_cli_pulumi_is_not_used(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        monkeypatch.setenv("PATH", str(tmp_path))
        assert engine.why_not() == "the Pulumi CLI is not installed"


class TestAnotherBackend:
    def test_what_pulumi_deployed_from_elsewhere_is_neither_taken_over_nor_removed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        answers = {"local-registry-hosting": HOSTED, "deployment": managed_by("pulumi-kubernetes-1a2b")}
        cluster = played(tmp_path, **answers)
        monkeypatch.setattr(target, "from_environment", lambda: cluster)
        monkeypatch.setattr(engine, "why_not", lambda: None)
        monkeypatch.setattr(engine.Engine, "exists", nowhere)
        for command in (deploy.up, deploy.down):
            with pytest.raises(DeployError, match="deployed by Pulumi, but not from"):
                command(asking())
        assert not [words for words in cluster.asked if {"delete", "apply"} & set(words)]


class TestPlan:
    def advertising(self, tmp_path: Path, **hosting: str) -> PlayedTarget:
        return played(
            tmp_path, **{"local-registry-hosting": {"data": {"localRegistryHosting.v1": json.dumps(hosting)}}}
        )

    def test_the_advertised_registry_is_pushed_to(self, tmp_path: Path):
        found = plan_for(asking(), self.advertising(tmp_path, host="localhost:5001"))
        assert found.settings.images.registry == "localhost:5001/task-queue"
        assert found.settings.images.pull_registry is None

    def test_nodes_that_name_it_otherwise_pull_by_that_name(self, tmp_path: Path):
        hosting = {"host": "localhost:5001", "hostFromContainerRuntime": "registry:5000"}
        found = plan_for(asking(), self.advertising(tmp_path, **hosting))
        assert found.settings.images.pull_registry == "registry:5000/task-queue"

    def test_a_cluster_without_a_registry_needs_one_in_the_settings(self, tmp_path: Path):
        with pytest.raises(Exception, match="images: no image for api and worker"):
            plan_for(asking(), played(tmp_path))
        given = asking(overrides=("images.registry=ghcr.io/acme",))
        assert plan_for(given, played(tmp_path)).settings.images.registry == "ghcr.io/acme"

    def test_the_command_line_has_the_last_word(self, tmp_path: Path):
        request = asking(namespace="mine", overrides=("images.registry=ghcr.io/acme", "api.replicas=1"))
        found = plan_for(request, self.advertising(tmp_path, host="localhost:5001"))
        assert (found.namespace, found.settings.api.replicas) == ("mine", 1)
        assert found.settings.images.registry == "ghcr.io/acme"

    def test_secrets_are_made_once_and_those_of_the_environment_win(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        cluster = self.advertising(tmp_path, host="localhost:5001")
        first, second = (plan_for(asking(), cluster).secrets for _ in range(2))
        assert first == second
        monkeypatch.setenv("TASK_QUEUE_SECRET_REDIS_PASSWORD", "given-by-its-owner")
        assert plan_for(asking(), cluster).secrets == {"redisPassword": "given-by-its-owner"}

    def test_no_password_is_made_up_for_an_external_redis(self, tmp_path: Path):
        request = asking(overrides=("redis.external.url=redis://cache.test:6379/0",))
        assert plan_for(request, self.advertising(tmp_path, host="localhost:5001")).secrets == {}


class TestState:
    def test_what_is_secret_can_be_read_by_its_owner_alone(self, tmp_path: Path):
        state = DeployState(tmp_path / "deploy")
        password = state.stack_secrets("local", "task-queue")["redisPassword"]
        assert len(password) >= 24
        for file in (state.passphrase_file(), tmp_path / "deploy/secrets/local-task-queue.json"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700

    def test_each_namespace_has_secrets_of_its_own(self, tmp_path: Path):
        state = DeployState(tmp_path)
        assert state.stack_secrets("local", "a") != state.stack_secrets("local", "b")

    def test_a_half_written_file_is_made_again(self, tmp_path: Path):
        (tmp_path / "passphrase.part").write_text("ha")
        assert len(DeployState(tmp_path).passphrase_file().read_text()) > 20


class TestTarget:
    def test_without_kubeconfig_and_context_it_is_the_embedded_cluster(self):
        assert target.from_environment({}).embedded

    def test_its_own_kubeconfig_is_the_embedded_cluster_too(self):
        own = target.from_environment({}).kubeconfig
        assert target.from_environment({"KUBECONFIG": str(own)}).embedded

    def test_a_context_names_another_with_a_state_of_its_own(self, tmp_path: Path):
        found = target.from_environment({"CONTEXT": "kind-kind/x", "XDG_STATE_HOME": str(tmp_path)})
        assert not found.embedded
        assert found.kubectl_words()[1:] == ["--context", "kind-kind/x"]
        assert found.state == tmp_path / "task-queue-deploy" / "kind-kind_x"


class TestPrune:
    def item(self, kind: str, name: str, manager: str) -> dict[str, Any]:
        return {"kind": kind, "metadata": {"name": name, **managed_by(manager)["metadata"]}}

    def test_only_own_objects_that_are_no_longer_rendered_go(self, tmp_path: Path):
        objects = objects_with().all
        kept = next(o["metadata"]["name"] for o in objects if o["kind"] == "ConfigMap")
        found = [
            self.item("ConfigMap", kept, rollout.MANAGER),
            self.item("ConfigMap", "task-api-config-old", rollout.MANAGER),
            self.item("ConfigMap", "someone-else-s", "kubectl"),
        ]
        cluster = played(tmp_path, get={"items": found})
        rollout.prune(cluster, "ns", objects)
        deleted = [words for words in cluster.asked if "delete" in words]
        assert [words[3] for words in deleted] == ["configmap/task-api-config-old"]

    def test_neither_claims_nor_the_namespace_are_ever_pruned(self, tmp_path: Path):
        cluster = played(tmp_path, get={"items": []})
        rollout.prune(cluster, "ns", [])
        assert "persistentvolumeclaim" not in str(cluster.asked)
        assert "namespace" not in str(cluster.asked)


def test_pods_that_hold_up_a_rollout_are_named_with_the_reason(tmp_path: Path):
    waiting = {"reason": "ImagePullBackOff", "message": "not found"}
    pod = {
        "metadata": {"name": "task-api-1"},
        "status": {
            "containerStatuses": [{"state": {"waiting": waiting}}],
            "conditions": [{"status": "False", "message": "containers with unready status: [api]"}],
        },
    }
    cluster = played(tmp_path, **{"rollout status": DeployError("timed out"), "get pods": {"items": [pod]}})
    deployment = objects_with().one("Deployment", "task-api")
    with pytest.raises(DeployError, match=r"(?s)task-api is not ready.*ImagePullBackOff not found.*\[api\]"):
        rollout.wait(cluster, "ns", [deployment], limit_s=1)


@contextmanager
def registry(digest: str | None) -> Generator[str, None, None]:
    """A registry of this machine that has one image, or none."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200 if digest else 404)
            self.send_header("Docker-Content-Digest", digest or "")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class TestRegistry:
    def test_an_image_that_is_there_is_known_by_its_digest(self):
        with registry("sha256:abc") as host:
            assert builders.pushed_digest(f"{host}/acme/task-api:1") == "sha256:abc"

    def test_one_that_is_not_there_has_none(self):
        with registry(None) as host:
            assert builders.pushed_digest(f"{host}/acme/task-api:1") is None

    def test_nor_has_one_in_a_registry_that_is_not_on_this_machine(self):
        assert builders.pushed_digest("registry.invalid/acme/task-api:1") is None

    def test_a_reference_has_host_name_and_tag(self):
        assert builders.split_reference("127.0.0.1:5001/a/b:c") == ("127.0.0.1:5001", "a/b", "c")


def test_a_failed_program_is_told_with_the_end_of_its_output(tmp_path: Path):
    words = ["sh", "-c", "echo first; echo the reason >&2; exit 3"]
    with pytest.raises(DeployError, match="the reason"):
        run_logged(words, tmp_path / "logs/x.log")
    assert "first" in (tmp_path / "logs/x.log").read_text()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (" +  kubernetes:apps/v1:Deployment task-api created (5s) ", True),
        (" +  kubernetes:apps/v1:Deployment task-api creating (0s) ", False),
        (" +  task-queue:infra:Api api created (0.1s) ", False),
        ("warning: using pulumi-resource-kubernetes from $PATH", False),
        ("error: update failed", True),
        ("    36 unchanged", True),
    ],
)
def test_of_pulumi_s_output_what_was_done_is_shown(line: str, shown: bool):
    assert engine.is_news(line) is shown
