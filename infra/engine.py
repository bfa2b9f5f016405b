"""Deploys by Pulumi's own command line, with settings and state outside the checkout."""

import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from infra import rollout
from infra.deploystate import DeployState
from infra.images import ROOT
from infra.settings import PROJECT, SECRETS
from infra.steps import DeployError, run, run_logged, say
from infra.target import Target

# Pulumi plugin -> the Python package whose version it must have.
_PROVIDERS = {"kubernetes": "pulumi-kubernetes", "docker-build": "pulumi-docker-build"}
_INSTALL_LIMIT_S = 180


def why_not() -> str | None:
    """Why Pulumi cannot be used here; None when it can. Missing plugins are installed if they can be had."""
    if not shutil.which("pulumi"):
        return "the Pulumi CLI is not installed"
    installed = _installed_plugins()
    if not (shutil.which("pulumi-language-python") or "language python" in installed):
        return "Pulumi's Python language host is not installed"
    for name, package in _PROVIDERS.items():
        if shutil.which(f"pulumi-resource-{name}") or f"resource {name}" in installed:
            continue
        version = importlib.metadata.version(package)
        say(f"    installing Pulumi's plugin {name} {version}")
        try:
            words = ["pulumi", "plugin", "install", "resource", name, version]
            subprocess.run(words, check=True, capture_output=True, timeout=_INSTALL_LIMIT_S)  # noqa: S603
        except (subprocess.SubprocessError, OSError):
            return f"Pulumi's plugin {name} {version} is not installed, and could not be downloaded"
    return None


def _installed_plugins() -> set[str]:
    try:
        text = run(["pulumi", "plugin", "ls", "--json"])
        return {f"{plugin['kind']} {plugin['name']}" for plugin in json.loads(text)}
    except (DeployError, ValueError, KeyError):
        return set()


def is_news(line: str) -> bool:
    """Whether a line of Pulumi's tells of something done, or wrong: the rest is in the log."""
    done = re.search(r"(created|updated|deleted|replaced) \(\d", line) and "task-queue:infra:" not in line
    return bool(done or re.search(r"\b(error|failed)\b|unchanged|Duration", line))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone else's
        return True
    status = Path(f"/proc/{pid}/stat")  # "1234 (pulumi) Z ...": killed, and only not yet reaped
    return not (status.is_file() and status.read_text().rpartition(")")[2].split()[:1] == ["Z"])


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Pulumi for one stack on one cluster."""

    target: Target
    state: DeployState
    stack: str
    namespace: str

    @property
    def name(self) -> str:
        """The stack as Pulumi knows it: one a namespace."""
        return self.stack if self.namespace == PROJECT else f"{self.stack}-{self.namespace}"

    def up(self, entries: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
        """Makes the cluster what the settings say, and returns the stack's outputs."""
        self._write_project()
        self._configure(entries, secrets)
        self.drop_dead_locks()
        try:
            self._run("up", "--suppress-outputs")
        except DeployError:
            # An update that was killed leaves objects that Pulumi does not know, and would not take over.
            if not self._remove_strays():
                raise
            self._run("refresh", "--clear-pending-creates", "--suppress-outputs")
            self._run("up", "--suppress-outputs")
        return self.outputs()

    def _remove_strays(self) -> bool:
        """Deletes what a killed update was making, by Pulumi's own record of it; whether there was any."""
        text = run(self._words("stack", "export"), environment=self.environment())
        pending = cast(list[dict[str, Any]], json.loads(text)["deployment"].get("pending_operations") or [])
        inputs = [cast(dict[str, Any], found["resource"].get("inputs", {})) for found in pending]
        begun = {(i["kind"], i["metadata"]["name"]) for i in inputs if "kind" in i}
        strays = rollout.made_by(self.target, self.namespace, rollout.PULUMI) & begun
        for kind, name in sorted(strays):
            say(f"    {kind} {name} is of a run that was killed: removed, to be made again")
            self.target.kubectl("-n", self.namespace, "delete", f"{kind.lower()}/{name}")
        return bool(strays)

    def _run(self, command: str, *words: str) -> None:
        run_logged(
            self._words(command, "--yes", "--skip-preview", "--suppress-progress", *words),
            self.state.log(f"pulumi-{command}"),
            environment=self.environment(),
            show=is_news,
        )

    def drop_dead_locks(self) -> None:
        """Removes locks of an update that was killed; the process that holds a lock is named in it."""
        for file in (self.state.backend() / ".pulumi" / "locks").rglob(f"{self.name}/*.json"):
            holder = cast(dict[str, Any], json.loads(file.read_text()))
            if holder.get("hostname") == socket.gethostname() and not _runs(int(holder["pid"])):
                say(f"    an earlier run was killed: its lock is removed ({file.name})")
                file.unlink()

    def exists(self) -> bool:
        """Whether Pulumi has this stack."""
        self._write_project()
        text = run(
            ["pulumi", "stack", "ls", "--json", "-C", str(self.project)], environment=self.environment()
        )
        return any(found["name"].split("/")[-1] == self.name for found in json.loads(text))

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs as last deployed."""
        text = run(self._words("stack", "output", "--json"), environment=self.environment())
        return cast(dict[str, Any], json.loads(text))

    def destroy(self) -> None:
        """Deletes everything that the stack made, and the stack."""
        self.drop_dead_locks()
        self._run("destroy", "--remove")

    @property
    def project(self) -> Path:
        """The folder from which `pulumi` is run."""
        return self.state.project()

    def environment(self) -> dict[str, str]:
        """What pulumi is run with: a backend in the state folder, unless the user has one."""
        environment = self.target.environment() | {"PULUMI_SKIP_UPDATE_CHECK": "true"}
        # Plugins in Python find the packages that this program has.
        environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", "")))
        if not (os.environ.get("PULUMI_BACKEND_URL") or os.environ.get("PULUMI_ACCESS_TOKEN")):
            environment["PULUMI_BACKEND_URL"] = self.state.backend().absolute().as_uri()
        if not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & environment.keys():
            environment["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(self.state.passphrase_file())
        return environment

    def _words(self, *words: str) -> list[str]:
        return ["pulumi", *words, "--non-interactive", "-C", str(self.project), "--stack", self.name]

    @property
    def _settings_file(self) -> Path:
        return self.project / f"Pulumi.{self.name}.yaml"

    def _write_project(self) -> None:
        """The checkout's project with whole paths: program and virtual environment stay where they are."""
        project = cast(dict[str, Any], yaml.safe_load((ROOT / "Pulumi.yaml").read_text()))
        options = project["runtime"]["options"]
        options["virtualenv"] = str(ROOT / options["virtualenv"])
        project["main"] = str(ROOT / project["main"])
        (self.project / "Pulumi.yaml").write_text(yaml.safe_dump(project, sort_keys=False))

    def _configure(self, entries: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Writes the stack's settings; secrets go through Pulumi once and then stay as it encrypted them."""
        if not self.exists():
            words = ["pulumi", "stack", "init", self.name, "--non-interactive", "-C", str(self.project)]
            run(words, environment=self.environment())
        known = self._written()
        config = {f"{PROJECT}:{key}": value for key, value in entries.items() if key not in SECRETS}
        if self.target.context:
            config["kubernetes:context"] = self.target.context
        kept = {f"{PROJECT}:{key}" for key in secrets if self._is_as_encrypted(key, secrets[key])}
        config |= {key: value for key, value in known.get("config", {}).items() if key in kept}
        self._settings_file.write_text(yaml.safe_dump(known | {"config": config}, sort_keys=False))
        for key in secrets:
            if f"{PROJECT}:{key}" not in kept:
                words = self._words("config", "set", "--secret", key)
                run(words, given=secrets[key], environment=self.environment())

    def _is_as_encrypted(self, key: str, value: str) -> bool:
        if f"{PROJECT}:{key}" not in self._written().get("config", {}):
            return False
        try:
            held = run(self._words("config", "get", key), environment=self.environment())
        except DeployError:
            return False
        return held.rstrip("\n") == value

    def _written(self) -> dict[str, Any]:
        file = self._settings_file
        return cast(dict[str, Any], yaml.safe_load(file.read_text()) or {}) if file.is_file() else {}
