"""Images: what goes in, the tags made of it, and how the stack builds them."""

import os
from pathlib import Path
from typing import Any

import pytest

from infra.context import ContextError, content_tag, context_files
from infra.images import ROOT, as_nodes_name_it, build_of, needed
from tests.infra.conftest import WITH_MAIL, merged, registered_with, settings_with

BUILT: dict[str, Any] = {"images": {"registry": "127.0.0.1:5001/acme", "api": None, "worker": None}}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in miniature, with the real Dockerfiles and allow-lists."""
    for name in ("api", "worker"):
        for file in (f"Dockerfile.{name}", f"Dockerfile.{name}.dockerignore"):
            (tmp_path / file).write_text((ROOT / file).read_text())
        for file in (
            f"requirements/{name}.txt",
            f"services/{name}/__main__.py",
            "services/taskqueue/queue.py",
        ):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(f"# {file}\n")
    return tmp_path


def tags(checkout: Path) -> dict[str, str]:
    return {name: content_tag(checkout, f"Dockerfile.{name}", {}) for name in ("api", "worker")}


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [name for name in before if before[name] != after[name]]


def test_a_change_of_the_api_alone_rebuilds_the_api_alone(checkout: Path):
    before = tags(checkout)
    (checkout / "services/api/__main__.py").write_text("print()\n")
    assert changed(before, tags(checkout)) == ["api"]


def test_a_change_of_the_queue_rebuilds_both(checkout: Path):
    before = tags(checkout)
    (checkout / "services/taskqueue/new.lua").write_text("return 1\n")
    assert changed(before, tags(checkout)) == ["api", "worker"]


def test_a_change_of_a_dockerfile_rebuilds_its_image(checkout: Path):
    before = tags(checkout)
    (checkout / "Dockerfile.worker").write_text("FROM scratch\n")
    assert changed(before, tags(checkout)) == ["worker"]


def test_what_does_not_go_in_does_not_count(checkout: Path):
    before = tags(checkout)
    for name in (
        "README.md",
        "tests/x.py",
        "services/api/__pycache__/x.pyc",
        "services/api/y.pyc",
        ".venv/z",
    ):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("changed")
    assert changed(before, tags(checkout)) == []


def test_times_and_modes_do_not_count(checkout: Path):
    before = tags(checkout)
    file = checkout / "services/api/__main__.py"
    file.chmod(0o755)
    os.utime(file, (0, 0))
    assert changed(before, tags(checkout)) == []


def test_a_moved_file_counts(checkout: Path):
    before = tags(checkout)
    (checkout / "services/api/__main__.py").rename(checkout / "services/api/other.py")
    assert changed(before, tags(checkout)) == ["api"]


def test_another_base_image_counts(checkout: Path):
    assert content_tag(checkout, "Dockerfile.api", {"PYTHON_IMAGE": "x:1"}) != tags(checkout)["api"]


@pytest.mark.parametrize(
    ("rules", "message"), [("services\n", "must begin with `*`"), ("*\n!gone\n", "nothing is there")]
)
def test_a_list_that_could_miss_files_is_refused(checkout: Path, rules: str, message: str):
    (checkout / "Dockerfile.api.dockerignore").write_text(rules)
    with pytest.raises(ContextError, match=message.replace("*", r"\*")):
        content_tag(checkout, "Dockerfile.api", {})


def test_a_missing_dockerfile_is_named(checkout: Path):
    with pytest.raises(ContextError, match=r"Dockerfile\.gone"):
        content_tag(checkout, "Dockerfile.gone", {})


def test_patterns_are_read_as_docker_reads_them(tmp_path: Path):
    for name in ("a/keep.go", "a/keep_test.go", "a/b/deep.go", "a/note.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "ignore").write_text("# what goes in\n*\n!a/*.go\na/*_test.go\n")
    assert [p.name for p in context_files(tmp_path, tmp_path / "ignore")] == ["keep.go"]


@pytest.mark.parametrize("name", ["api", "worker", "mail"])
def test_each_real_context_holds_its_program_and_nothing_private(name: str):
    files = [
        p.relative_to(ROOT).as_posix() for p in context_files(ROOT, ROOT / f"Dockerfile.{name}.dockerignore")
    ]
    assert files
    assert not [
        f for f in files if f.startswith(("Pulumi", "infra", "tests", "build", ".")) or "__pycache__" in f
    ]


@pytest.mark.parametrize("name", ["api", "worker"])
def test_dockerfiles_end_as_a_numeric_user_with_an_exec_entry_point(name: str):
    lines = (ROOT / f"Dockerfile.{name}").read_text().splitlines()
    assert "USER 10001:10001" in lines
    assert f'ENTRYPOINT ["python", "-m", "{name}"]' in lines
    assert f"FROM ${{PYTHON_IMAGE}} AS {name}" in lines
    assert "ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie" in lines
    assert not [
        line for line in lines if line.startswith(("RUN ", "CMD ", "ENTRYPOINT ")) and "[" not in line
    ]
    assert "--require-hashes" in "".join(lines)


class TestBuiltByTheStack:
    def images(self, **changes: Any) -> dict[str, dict[str, Any]]:
        registered = registered_with(**merged(BUILT, changes))
        return {name: inputs for kind, name, inputs in registered if kind == "docker-build:index:Image"}

    def test_each_is_pushed_under_a_canonical_tag_of_its_content(self):
        images = self.images()
        assert sorted(images) == ["api-image", "worker-image"]
        tag = content_tag(ROOT, "Dockerfile.api", {"platforms": ""})
        assert images["api-image"]["tags"] == [f"127.0.0.1:5001/acme/task-api:{tag}"]
        assert images["api-image"]["push"] is True

    def test_each_is_built_from_relative_paths_up_to_its_own_stage(self):
        worker = self.images()["worker-image"]
        assert worker["context"] == {"location": ".."}
        assert worker["dockerfile"] == {"location": "../Dockerfile.worker"}
        assert worker["target"] == "worker"
        assert worker["buildOnPreview"] is False
        assert not {"pull", "platforms", "registries"} & worker.keys()

    def test_platforms_base_image_and_login_are_settings(self):
        changes = {
            "images": {
                "platforms": ["linux/amd64", "linux/arm64"], "pythonImage": "python.test/p:1",
                "registryUsername": "me",
                "registry": "r.test/acme",
            },
            "registryPassword": "hush",
        }  # fmt: skip
        api = self.images(**changes)["api-image"]
        assert api["platforms"] == ["linux/amd64", "linux/arm64"]
        assert api["buildArgs"] == {"PYTHON_IMAGE": "python.test/p:1"}
        (login,) = api["registries"]
        assert (login["address"], login["username"]) == ("r.test", "me")

    def test_the_mail_server_s_image_is_built_where_it_runs(self):
        settings = settings_with(**merged(merged(WITH_MAIL, BUILT), {"images": {"mail": None}}))
        assert needed(settings) == ["api", "worker", "mail"]
        assert build_of("mail", settings.images).reference.startswith("127.0.0.1:5001/acme/task-mail:")

    def test_a_given_ref_is_not_built(self):
        images = self.images(images={"api": "r.test/api:1"})
        assert sorted(images) == ["worker-image"]


def test_nodes_may_know_the_registry_by_another_name():
    images = settings_with(
        images={"registry": "localhost:5001/acme", "pullRegistry": "k3d-registry:5000/acme"}
    ).images
    pushed = "localhost:5001/acme/task-api:1@sha256:00"
    assert as_nodes_name_it(pushed, images) == "k3d-registry:5000/acme/task-api:1@sha256:00"
    assert as_nodes_name_it("other.test/x:1", images) == "other.test/x:1"
