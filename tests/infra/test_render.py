"""`python -m infra.render`: the same objects as YAML, or one message that says what is missing."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from infra import render, stackfile
from infra.images import ROOT
from infra.settings import SettingsError
from tests.infra.conftest import WITH_MAIL, objects_with

REFS = ["--image", "api=r.test/api:1", "--image", "worker=r.test/worker:1", "--image", "mail=r.test/mail:1"]
PASSWORD = "correct-horse-battery"


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TASK_QUEUE_SECRET_REDIS_PASSWORD", PASSWORD)


def documents(text: str) -> list[dict[str, object]]:
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("stack", ["local", "dev"])
def test_a_stack_is_rendered_from_its_file(capsys: pytest.CaptureFixture[str], stack: str):
    assert render.main(["--stack", stack, *REFS]) == 0
    kinds = [document["kind"] for document in documents(capsys.readouterr().out)]
    assert kinds[0] == "Namespace"
    assert kinds.index("Service") < kinds.index("StatefulSet") < kinds.index("HorizontalPodAutoscaler")


def test_prod_is_rendered_once_it_names_its_transport(capsys: pytest.CaptureFixture[str]):
    assert render.main(["--stack", "prod", *REFS]) == 2
    assert "email: required: set email.transport" in capsys.readouterr().err
    assert render.main(["--stack", "prod", *REFS, "--set", "email.transport=simulate"]) == 0


def test_secrets_are_left_out_unless_asked_for(capsys: pytest.CaptureFixture[str]):
    assert render.main(["--stack", "dev", *REFS]) == 0
    without = capsys.readouterr()
    assert base64.b64encode(PASSWORD.encode()).decode() not in without.out
    assert "Secret" not in [document["kind"] for document in documents(without.out)]
    assert "--with-secrets prints them" in without.err
    assert render.main(["--stack", "dev", *REFS, "--with-secrets"]) == 0
    assert base64.b64encode(PASSWORD.encode()).decode() in capsys.readouterr().out


def test_no_image_ref_is_made_up(capsys: pytest.CaptureFixture[str]):
    registry = ["--set", "images.registry=r.test/acme"]
    assert render.main(["--stack", "dev", *registry, "--image", "api=r.test/api:1"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "images.worker: only `pulumi up` builds images: give --image worker=REF" in captured.err


def test_a_missing_secret_is_named_with_the_ways_to_give_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TASK_QUEUE_SECRET_REDIS_PASSWORD")
    assert render.main(["--stack", "dev", *REFS]) == 2
    message = capsys.readouterr().err
    assert "redisPassword: required" in message
    assert "TASK_QUEUE_SECRET_REDIS_PASSWORD" in message
    assert "--secrets" in message


def test_secrets_can_come_from_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.delenv("TASK_QUEUE_SECRET_REDIS_PASSWORD")
    file = tmp_path / "secrets.yaml"
    file.write_text("redisPassword: another-password-1\n")
    assert render.main(["--stack", "dev", *REFS, "--secrets", str(file), "--with-secrets"]) == 0
    assert base64.b64encode(b"another-password-1").decode() in capsys.readouterr().out


@pytest.mark.parametrize("content", ["just text", "a: [", ""])
def test_a_secrets_file_of_another_shape_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str
):
    file = tmp_path / "secrets.yaml"
    file.write_text(content)
    assert render.main(["--stack", "dev", *REFS, "--secrets", str(file)]) == 2
    assert capsys.readouterr().err


def test_an_encrypted_value_must_be_given_otherwise(tmp_path: Path):
    (tmp_path / "Pulumi.x.yaml").write_text("config:\n  task-queue:smtpPassword:\n    secure: v1:abc\n")
    with pytest.raises(
        SettingsError, match=r"smtpPassword: it is encrypted.*TASK_QUEUE_SECRET_SMTP_PASSWORD"
    ):
        stackfile.read("x", root=tmp_path, environment={})
    config = stackfile.read("x", root=tmp_path, environment={"TASK_QUEUE_SECRET_SMTP_PASSWORD": "hush"})
    assert config.values["task-queue:smtpPassword"] == "hush"


def test_a_stack_that_is_not_there_is_named_with_those_that_are(capsys: pytest.CaptureFixture[str]):
    assert render.main(["--stack", "stagng", *REFS]) == 2
    assert "dev, local, prod" in capsys.readouterr().err


@pytest.mark.parametrize("override", ["nonsense", "=1", "a..b=1"])
def test_an_override_of_another_form_is_refused(capsys: pytest.CaptureFixture[str], override: str):
    assert render.main(["--stack", "dev", *REFS, "--set", override]) == 2
    assert "path.to.key=value" in capsys.readouterr().err


def test_namespace_and_settings_can_be_given_on_the_command_line(capsys: pytest.CaptureFixture[str]):
    overrides = ["--namespace", "elsewhere", "--set", "worker.autoscaling.maxReplicas=4"]
    assert render.main(["--stack", "dev", *REFS, *overrides]) == 0
    text = capsys.readouterr().out
    assert "namespace: elsewhere" in text
    assert "maxReplicas: 4" in text


@pytest.mark.parametrize("image", ["api", "api=", "other=r.test/x:1"])
def test_an_image_argument_of_another_form_is_refused(capsys: pytest.CaptureFixture[str], image: str):
    with pytest.raises(SystemExit) as ended:
        render.main(["--stack", "dev", "--image", image])
    assert ended.value.code == 2
    assert "api=REF" in capsys.readouterr().err


def test_it_runs_as_a_command_and_gives_the_same_bytes_each_time():
    command = [sys.executable, "-m", "infra.render", "--stack", "local", *REFS]
    first, second = (
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout for _ in range(2)
    )
    assert first == second


def test_whole_numbers_stay_whole():
    text = render.to_yaml(objects_with(**WITH_MAIL).all)
    assert "replicas: 3\n" in text
    assert ".0\n" not in text


def test_yaml_reads_back_as_the_same_objects():
    objects = objects_with(**WITH_MAIL).all
    assert documents(render.to_yaml(objects)) == objects
