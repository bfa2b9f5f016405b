"""Reads a stack's settings from its file as Pulumi would, with additions of command line and environment."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic.alias_generators import to_snake

from infra.settings import PROJECT, SECRETS, SettingsError, StackConfig

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = "TASK_QUEUE_SECRET_"


def stack_names(root: Path = ROOT) -> list[str]:
    """Stacks that have a settings file."""
    return sorted(
        path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in root.glob("Pulumi.*.yaml")
    )


def read(
    stack: str,
    *,
    overrides: Iterable[str] = (),
    secrets: Mapping[str, str] | None = None,
    environment: Mapping[str, str] = os.environ,
    root: Path = ROOT,
) -> StackConfig:
    """The configuration of a stack without Pulumi; SettingsError when it cannot be read.

    `overrides` are `path.to.key=value`. Encrypted values cannot be read here: they are taken from
    `secrets`, else from the environment (`redisPassword` from TASK_QUEUE_SECRET_REDIS_PASSWORD).
    """
    entries = entries_of(stack, overrides=overrides, root=root)
    known = given_secrets(environment) | dict(secrets or {})
    encrypted = [key for key, value in entries.items() if _is_encrypted(value)]
    unknown = [key for key in encrypted if key not in known]
    if unknown:
        raise SettingsError(
            stack,
            [
                f"{key}: it is encrypted, and only Pulumi can read it: give {variable(key)} or --secrets"
                for key in unknown
            ],
        )
    entries |= known
    values = {f"{PROJECT}:{key}": _as_pulumi_hands_it_over(value) for key, value in entries.items()}
    return StackConfig(stack=stack, values=values, secret_keys=frozenset(f"{PROJECT}:{key}" for key in known))


def entries_of(stack: str, *, overrides: Iterable[str] = (), root: Path = ROOT) -> dict[str, Any]:
    """The project's settings in the stack's file, by key, with the overrides put in."""
    entries = _entries(stack, root)
    for override in overrides:
        _put(entries, override, stack)
    return entries


def given_secrets(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Secret settings in the environment, by key."""
    return {key: value for key in SECRETS if (value := environment.get(variable(key)))}


def variable(key: str) -> str:
    """The environment variable that a secret is taken from."""
    return ENVIRONMENT + to_snake(key).upper()


def _entries(stack: str, root: Path) -> dict[str, Any]:
    file = root / f"Pulumi.{stack}.yaml"
    try:
        content: object = yaml.safe_load(file.read_text()) or {}
    except FileNotFoundError:
        there = ", ".join(stack_names(root))
        raise SettingsError(stack, [f"{file.name}: it is not there (stacks here: {there})"]) from None
    except yaml.YAMLError as error:
        raise SettingsError(stack, [f"{file.name}: it is not YAML: {error}"]) from None
    config: object = cast(dict[str, Any], content if isinstance(content, dict) else {}).get("config") or {}
    space = f"{PROJECT}:"
    return {
        key.removeprefix(space): value
        for key, value in cast(dict[str, Any], config).items()
        if key.startswith(space)
    }


def _is_encrypted(value: object) -> bool:
    return isinstance(value, dict) and set(cast(dict[str, object], value)) == {"secure"}


def _put(entries: dict[str, Any], override: str, stack: str) -> None:
    path, separator, text = override.partition("=")
    keys = path.split(".")
    if not separator or not all(keys):
        raise SettingsError(stack, [f"{override}: it is not of the form path.to.key=value"])
    section: dict[str, Any] = entries
    for key in keys[:-1]:
        below = section.get(key)
        section[key] = dict(cast(dict[str, Any], below)) if isinstance(below, dict) else {}
        section = section[key]
    section[keys[-1]] = yaml.safe_load(text) if len(keys) > 1 else text


def _as_pulumi_hands_it_over(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)
