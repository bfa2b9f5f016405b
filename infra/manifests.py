"""Runs the program without engine, plugin or cluster, and collects the objects that it declares."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

from pulumi.runtime import mocks, stack

from infra.program import declare
from infra.settings import PROJECT, Settings

Manifest = dict[str, Any]

# What others refer to comes first, as for `kubectl apply` in one go.
_ORDER = (
    "Namespace",
    "ServiceAccount",
    "NetworkPolicy",
    "ConfigMap",
    "Secret",
    "Service",
    "StatefulSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Ingress",
)
_KUBERNETES = "kubernetes:"
# How a secret is marked on Pulumi's wire (sdk/go/common/resource/properties.go).
_SIGNATURE, _SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"


def inputs_of(args: mocks.MockResourceArgs) -> Manifest:
    """What a resource was declared with."""
    return _plain(cast(Manifest, args.inputs))  # pyright: ignore[reportUnknownMemberType]


class Recorder(mocks.Mocks):
    """Stands where the engine would be: takes down what is registered, and answers with the inputs."""

    def __init__(self) -> None:
        self.registered: list[mocks.MockResourceArgs] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """A made-up id, and the inputs as outputs."""
        self.registered.append(args)
        return f"{args.name}-id", cast(Manifest, args.inputs)  # pyright: ignore[reportUnknownMemberType]

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        """The program calls no function of a provider."""
        raise NotImplementedError(args.token)


def record(run: Callable[[], object], stack_name: str) -> list[mocks.MockResourceArgs]:
    """Everything that `run` registers, in a thread of its own: Pulumi keeps its state per thread."""
    recorder = Recorder()
    errors: list[BaseException] = []

    def in_thread() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        mocks.set_mocks(recorder, project=PROJECT, stack=stack_name, preview=False)

        def program() -> None:
            run()

        try:
            asyncio.get_event_loop().run_until_complete(stack.run_pulumi_func(program))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return recorder.registered


def manifests(settings: Settings, stack_name: str) -> list[Manifest]:
    """The stack's Kubernetes objects as plain manifests, in the order to apply them."""
    registered = record(lambda: declare(settings), stack_name)
    found = [inputs_of(args) for args in registered if args.typ.startswith(_KUBERNETES)]
    return sorted(found, key=_rank)


def _rank(manifest: Manifest) -> tuple[int, str]:
    return _ORDER.index(manifest["kind"]), str(manifest["metadata"]["name"])


def _plain(value: Any) -> Any:
    """Whole numbers as integers (they come back as floats), secrets as what they hold, keys in order."""
    if isinstance(value, dict):
        held = cast(dict[str, Any], value)
        if held.get(_SIGNATURE) == _SECRET:
            return _plain(held["value"])
        return {key: _plain(held[key]) for key in sorted(held, key=_key_rank) if held[key] is not None}
    if isinstance(value, list):
        return [_plain(item) for item in cast(list[Any], value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _key_rank(key: str) -> tuple[int, str]:
    first = ("apiVersion", "kind", "metadata", "name")
    return (first.index(key) if key in first else len(first)), key
