"""The stack as Pulumi sees it: parents, protection, secrets, outputs, and that the program starts."""

import ast
import re
import subprocess
import sys
from typing import Any

import pulumi
import pytest
import yaml

from infra import manifests, program
from infra.images import ROOT
from tests.infra.conftest import WITH_MAIL, merged, settings_with

LOCAL: dict[str, Any] = merged(WITH_MAIL, {"api": {"service": {"type": "NodePort", "nodePort": 30500}}})


def outputs_with(**changes: Any) -> dict[str, Any]:
    """What the stack's outputs come to."""
    settings, found = settings_with(**changes), dict[str, Any]()

    def run() -> None:
        for name, value in program.declare(settings).items():
            pulumi.Output.from_input(value).apply(lambda v, name=name: found.__setitem__(name, v))

    manifests.record(run, "test")
    return found


def test_the_outputs_say_where_it_is_and_how_to_look_closer():
    outputs = outputs_with(**LOCAL)
    assert sorted(outputs) == ["api_image", "kubectl", "mail_url", "namespace", "url", "worker_image"]
    assert outputs["url"] == "http://127.0.0.1:30500"
    assert outputs["namespace"] == "task-queue"
    assert outputs["api_image"] == "registry.test/task-api:1"
    assert all(line.startswith("kubectl -n task-queue ") for line in outputs["kubectl"])


@pytest.mark.parametrize(
    ("api", "url"),
    [
        ({"ingress": {"host": "tasks.test", "tlsSecret": "t"}}, "https://tasks.test"),
        ({"ingress": {"host": "tasks.test"}}, "http://tasks.test"),
        ({"service": {"type": "ClusterIP"}}, "http://api-service.task-queue.svc"),
        (
            {"service": {"type": "NodePort", "nodePort": 30500, "nodeAddress": "10.0.0.5"}},
            "http://10.0.0.5:30500",
        ),
    ],
)
def test_the_url_follows_how_the_api_is_exposed(api: dict[str, Any], url: str):
    assert outputs_with(api=api)["url"] == url


def test_pulumi_yaml_names_the_program_and_its_virtual_environment():
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    assert project["name"] == "task-queue"
    assert project["main"] == "infra"
    assert project["runtime"] == {"name": "python", "options": {"virtualenv": ".venv"}}


def test_components_pass_themselves_to_their_children_not_the_caller_s_options():
    for file in (ROOT / "infra").glob("*.py"):
        text = file.read_text()
        assert "ResourceOptions.merge" not in text, file.name
        for options in re.findall(r"ResourceOptions\(([^)]*)\)", text):
            assert options.startswith(("parent=self", "parent=parent")), file.name


def test_no_resource_is_made_inside_apply():
    for file in (ROOT / "infra").glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "apply"
            ):
                assert "ResourceOptions" not in ast.dump(call), file.name


def test_infra_imports_no_service_code():
    for file in (ROOT / "infra").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] not in ("taskqueue", "api", "worker"), file.name


PROGRAM = """
import os, runpy, sys
from pulumi.runtime import mocks, set_all_config
from tests.infra.conftest import LEAST, config_of
from infra.manifests import Recorder

os.chdir("infra")
sys.path[:] = [os.getcwd(), *(p for p in sys.path if p not in ("", os.path.dirname(os.getcwd())))]
for name in [name for name in sys.modules if name.split(".")[0] == "infra"]:
    del sys.modules[name]
config = config_of(LEAST | {EXTRA})
mocks.set_mocks(Recorder(), project="task-queue", stack="test")
set_all_config({"config"}, list(config.secret_keys))
runpy.run_path(".", run_name="__main__")
import redis
print("redis of", os.path.basename(os.path.dirname(os.path.dirname(redis.__file__))))
"""


def start(extra: str = "{}") -> subprocess.CompletedProcess[str]:
    """The program the way Pulumi starts it: in its own folder, which is first on the path."""
    code = PROGRAM.replace("{EXTRA}", extra).replace('{"config"}', "dict(config.values)")
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_started_in_its_own_folder_its_modules_hide_no_package():
    done = start()
    assert done.stdout == "redis of site-packages\n", done.stderr


def test_wrong_settings_end_the_program_with_one_message():
    done = start('{"worker": {"concurency": 1}, "namspace": "x"}')
    assert done.returncode != 0
    assert "worker.concurency: unknown key (did you mean concurrency?)" in done.stderr
    assert "namspace: unknown key (did you mean namespace?)" in done.stderr
