"""The program under Pulumi's mocks, with the real SDK types."""

import base64
import copy
import json
from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest

from infra.manifests import Manifest, inputs_of, manifests, record
from infra.program import declare
from infra.settings import PROJECT, SECRETS, Settings, StackConfig, load

# What a stack must say at the least: everything else has a default.
LEAST: dict[str, Any] = {
    "images": {"api": "registry.test/task-api:1", "worker": "registry.test/task-worker:1"},
    "email": {"transport": "simulate"},
    "redisPassword": "correct-horse-battery",
}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, section by section; None takes a key away."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], cast(dict[str, Any], value))
        else:
            result[key] = value
    return result


def config_of(entries: dict[str, Any]) -> StackConfig:
    """Settings the way Pulumi hands them to the program."""
    return StackConfig(
        stack="test",
        values={f"{PROJECT}:{k}": v if isinstance(v, str) else json.dumps(v) for k, v in entries.items()},
        secret_keys=frozenset(f"{PROJECT}:{key}" for key in SECRETS),
    )


def settings_with(**changes: Any) -> Settings:
    """The least settings, changed."""
    return load(config_of(merged(LEAST, changes)))


class Objects:
    """Kubernetes objects of a stack, to be asked for by kind and name."""

    def __init__(self, found: Iterable[Manifest]) -> None:
        self.all = list(found)

    def of(self, kind: str) -> list[Manifest]:
        """Every object of a kind."""
        return [o for o in self.all if o["kind"] == kind]

    def one(self, kind: str, name: str) -> Manifest:
        """The object of that name; for names with a hash, what comes before it."""
        found = [o for o in self.of(kind) if o["metadata"]["name"] in (name, f"{name}-{self._hash(o)}")]
        assert len(found) == 1, f"{len(found)} {kind} called {name}"
        return found[0]

    @staticmethod
    def _hash(manifest: Manifest) -> str:
        return manifest["metadata"]["name"].rsplit("-", 1)[-1]

    def secret(self, name: str) -> dict[str, str]:
        """What a Secret holds."""
        return {k: base64.b64decode(v).decode() for k, v in self.one("Secret", name)["data"].items()}

    def pod(self, name: str) -> dict[str, Any]:
        """The pod's spec of a Deployment or StatefulSet."""
        workloads = [o for o in self.all if o["kind"] in ("Deployment", "StatefulSet")]
        return next(o for o in workloads if o["metadata"]["name"] == name)["spec"]["template"]["spec"]

    def container(self, name: str) -> dict[str, Any]:
        """The only container of a Deployment or StatefulSet."""
        (container,) = self.pod(name)["containers"]
        return container

    def environment(self, name: str) -> dict[str, Any]:
        """What a container finds in its environment: text, or where Kubernetes takes it from."""
        container = self.container(name)
        known: dict[str, Any] = {}
        for source in container.get("envFrom", []):
            known |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        for entry in container.get("env", []):
            known[entry["name"]] = entry.get("value", entry.get("valueFrom"))
        return known


def objects_with(**changes: Any) -> Objects:
    """The objects of a stack with the least settings, changed."""
    return Objects(manifests(settings_with(**changes), "test"))


def registered_with(**changes: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Everything that the program registers: type, name, inputs."""
    settings = settings_with(**changes)
    return [(r.typ, r.name, inputs_of(r)) for r in record(lambda: declare(settings), "test")]


SMTP: dict[str, Any] = {"transport": "smtp", "smtp": {"host": "smtp.test", "port": 465, "tls": "implicit"}}
WITH_MAIL: dict[str, Any] = {
    "images": {"mail": "registry.test/task-mail:1"},
    "mail": {"enabled": True},
    "email": {"transport": "smtp", "smtp": {"host": "mail-service", "port": 2525}},
}


@pytest.fixture(scope="session")
def objects() -> Objects:
    """A stack with the least settings."""
    return objects_with()


@pytest.fixture(scope="session")
def whole() -> Objects:
    """A stack with every program in it."""
    return objects_with(**WITH_MAIL)


@pytest.fixture
def wrong() -> Callable[..., list[str]]:
    """The errors that settings end with."""
    from infra.settings import SettingsError

    def errors(**changes: Any) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            settings_with(**changes)
        assert all(problem in str(caught.value) for problem in caught.value.problems)
        return caught.value.problems

    return errors
