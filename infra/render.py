"""Prints the stack's objects as YAML for review, GitOps or `kubectl apply`; needs no engine or cluster."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from infra import images, stackfile
from infra.manifests import Manifest, manifests
from infra.settings import Settings, SettingsError, load

WRONG_USAGE = 2


def rendered(
    stack: str,
    *,
    refs: Mapping[str, str],
    overrides: list[str],
    secrets: Mapping[str, str],
) -> list[Manifest]:
    """The stack's manifests, Secrets too; SettingsError for wrong settings or an image without a ref."""
    given = [f"images.{name}={ref}" for name, ref in refs.items()]
    config = stackfile.read(stack, overrides=[*overrides, *given], secrets=secrets)
    settings = load(config)
    _refuse_made_up_images(settings, stack)
    return manifests(settings, stack)


def _refuse_made_up_images(settings: Settings, stack: str) -> None:
    missing = [name for name in images.needed(settings) if not getattr(settings.images, name)]
    if missing:
        problems = [
            f"images.{name}: only `pulumi up` builds images: give --image {name}=REF" for name in missing
        ]
        raise SettingsError(stack, problems)


def read_secrets(file: Path | None) -> dict[str, str]:
    """Secret settings by key from a YAML or JSON file."""
    if file is None:
        return {}
    content: object = yaml.safe_load(file.read_text())
    if not isinstance(content, dict):
        raise TypeError(f"{file}: it must map secret settings to their values, as `redisPassword: ...`")
    return {str(key): str(value) for key, value in cast(dict[Any, Any], content).items()}


def to_yaml(objects: list[Manifest]) -> str:
    """One YAML document an object; long text as blocks."""
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, explicit_start=True, width=110)


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(  # pyright: ignore[reportUnknownMemberType]
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _text)


def image_ref(text: str) -> tuple[str, str]:
    """`api=REF` of a command line as name and ref."""
    name, separator, ref = text.partition("=")
    if name not in ("api", "worker", "mail") or not separator or not ref:
        raise argparse.ArgumentTypeError(f"{text!r} is not api=REF, worker=REF or mail=REF")
    return name, ref


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.render", description=__doc__)
    parser.add_argument("--stack", required=True, help=f"one of: {', '.join(stackfile.stack_names())}")
    parser.add_argument(
        "--image", action="append", type=image_ref, default=[], metavar="NAME=REF", help="ref of an image"
    )
    parser.add_argument("--namespace", help="instead of the stack's own")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides")
    parser.add_argument(
        "--secrets", type=Path, metavar="FILE", help="YAML file with the stack's secret settings"
    )
    parser.add_argument("--with-secrets", action="store_true", help="print Secrets too")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """0, or 2 with a message for wrong settings and arguments."""
    arguments = _arguments(argv)
    namespace = [f"namespace={arguments.namespace}"] if arguments.namespace else []
    try:
        objects = rendered(
            arguments.stack,
            refs=dict(arguments.image),
            overrides=[*arguments.overrides, *namespace],
            secrets=read_secrets(arguments.secrets),
        )
    except SettingsError as error:
        print(f"{error}\n{_how_to_give_secrets(error)}", end="", file=sys.stderr)
        return WRONG_USAGE
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
    shown = [o for o in objects if arguments.with_secrets or o["kind"] != "Secret"]
    if len(shown) < len(objects):
        print(f"{len(objects) - len(shown)} Secret(s) left out: --with-secrets prints them", file=sys.stderr)
    print(to_yaml(shown), end="")
    return 0


def _how_to_give_secrets(error: SettingsError) -> str:
    secret = [key for key in stackfile.SECRETS if any(problem.startswith(key) for problem in error.problems)]
    variables = ", ".join(stackfile.variable(key) for key in secret)
    return f"here, secrets are given as {variables}, or in a file by --secrets\n" if secret else ""


if __name__ == "__main__":
    sys.exit(main())
