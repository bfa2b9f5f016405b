"""Going from rendered objects to Pulumi: the import file gets the objects' own names."""

import json
from pathlib import Path

import pytest

from infra import adopt
from tests.infra.conftest import objects_with, settings_with

REFS = ["--image", "api=r.test/api:1", "--image", "worker=r.test/worker:1"]
DEPLOYMENT, NAMESPACE = "kubernetes:apps/v1:Deployment", "kubernetes:core/v1:Namespace"


def test_every_kubernetes_object_has_an_id():
    ids = adopt.ids_of(settings_with(), "test")
    places = [o["metadata"] for o in objects_with().all]
    wanted = {f"{place.get('namespace', '')}/{place['name']}".lstrip("/") for place in places}
    assert set(ids.values()) == wanted
    assert ids[NAMESPACE, "namespace"] == "task-queue"
    assert ids[DEPLOYMENT, "task-api"] == "task-queue/task-api"


def test_components_stay_and_images_go():
    content = {
        "nameTable": {"a": "b"},
        "resources": [
            {"type": "task-queue:infra:Api", "name": "api", "component": True},
            {"type": "docker-build:index:Image", "name": "api-image", "id": "<PLACEHOLDER>"},
            {
                "type": "kubernetes:apps/v1:Deployment",
                "name": "task-api",
                "id": "<PLACEHOLDER>",
                "parent": "api",
            },
        ],
    }
    done = adopt.completed(content, adopt.ids_of(settings_with(), "test"))
    assert done["nameTable"] == {"a": "b"}
    assert [r["name"] for r in done["resources"]] == ["api", "task-api"]
    assert done["resources"][1] == {
        "type": DEPLOYMENT,
        "name": "task-api",
        "id": "task-queue/task-api",
        "parent": "api",
    }


def test_the_file_is_rewritten_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TASK_QUEUE_SECRET_REDIS_PASSWORD", "correct-horse-battery")
    file = tmp_path / "import.json"
    file.write_text(json.dumps({"resources": [{"type": NAMESPACE, "name": "namespace"}]}))
    assert adopt.main([str(file), "--stack", "dev", *REFS]) == 0
    assert json.loads(file.read_text())["resources"][0]["id"] == "task-queue"


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
):
    monkeypatch.setenv("TASK_QUEUE_SECRET_REDIS_PASSWORD", "correct-horse-battery")
    file = tmp_path / "import.json"
    file.write_text(text)
    assert adopt.main([str(file), "--stack", "dev", *REFS]) == 2
    assert "is not what `pulumi preview --import-file` writes" in capsys.readouterr().err


def test_wrong_settings_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert adopt.main([str(tmp_path / "x"), "--stack", "prod"]) == 2
    assert "email: required" in capsys.readouterr().err
