"""What is deployed where: the command line's request, and the stack's checked settings for one cluster."""

from dataclasses import dataclass
from typing import Any, cast

from infra import engine, stackfile, target
from infra.deploystate import DeployState
from infra.settings import PROJECT, Settings, load
from infra.target import Target

# Redis 8 of Debian trixie, which the embedded cluster's registry has.
_EMBEDDED_REDIS = "redis.image=127.0.0.1:5001/library/redis:8"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for."""

    stack: str
    namespace: str | None
    method: str
    overrides: tuple[str, ...]
    recipient: str | None
    limit_s: int
    keep_cluster: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A stack's settings for one cluster, checked, and by which method they are deployed."""

    target: Target
    state: DeployState
    stack: str
    overrides: tuple[str, ...]
    secrets: dict[str, str]
    settings: Settings

    @property
    def namespace(self) -> str:
        """Where everything is."""
        return self.settings.namespace

    @property
    def engine(self) -> engine.Engine:
        """Pulumi for this stack."""
        return engine.Engine(target=self.target, state=self.state, stack=self.stack, namespace=self.namespace)


def plan_for(request: Request, aimed: Target) -> Plan:
    """The checked settings; SettingsError names what is wrong with them."""
    state = DeployState(aimed.state)
    overrides = (*_of_cluster(request, aimed), *request.overrides)
    if request.namespace:
        overrides = (*overrides, f"namespace={request.namespace}")
    secrets = _secrets(stackfile.entries_of(request.stack, overrides=overrides), request.stack, state)
    config = stackfile.read(request.stack, overrides=overrides, secrets=secrets)
    return Plan(
        target=aimed,
        state=state,
        stack=request.stack,
        overrides=overrides,
        secrets=secrets,
        settings=load(config),
    )


def _secrets(entries: dict[str, Any], stack: str, state: DeployState) -> dict[str, str]:
    """The stack's secrets: those in the environment, and a password for a Redis of its own."""
    given = stackfile.given_secrets()
    if "redisPassword" in given or "external" in (entries.get("redis") or {}):
        return given
    return state.stack_secrets(stack, str(entries.get("namespace", PROJECT))) | given


def _of_cluster(request: Request, aimed: Target) -> tuple[str, ...]:
    """Settings that the cluster knows: its registry, where the stack names none."""
    own = cast(dict[str, Any], stackfile.entries_of(request.stack).get("images", {}))
    found = None if own.get("registry") else target.advertised_registry(aimed)
    added = [_EMBEDDED_REDIS] if aimed.embedded else []
    if found:
        added.append(f"images.registry={found.push}/task-queue")
        if found.pull != found.push:
            added.append(f"images.pullRegistry={found.pull}/task-queue")
    return tuple(added)
