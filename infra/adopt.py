"""Completes the file of `pulumi preview --import-file`, so that Pulumi takes over rendered objects."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, cast

from infra import stackfile
from infra.manifests import inputs_of, record
from infra.program import declare
from infra.render import image_ref
from infra.settings import Settings, SettingsError, load

WRONG_USAGE = 2


def ids_of(settings: Settings, stack: str) -> dict[tuple[str, str], str]:
    """Type and logical name of each Kubernetes resource -> its id, `namespace/name` or `name`."""
    found: dict[tuple[str, str], str] = {}
    for resource in record(lambda: declare(settings), stack):
        if resource.typ.startswith("kubernetes:"):
            metadata = inputs_of(resource)["metadata"]
            place = [metadata["namespace"]] if metadata.get("namespace") else []
            found[resource.typ, resource.name] = "/".join([*place, metadata["name"]])
    return found


def completed(content: dict[str, Any], ids: dict[tuple[str, str], str]) -> dict[str, Any]:
    """The import file with ids; images are left out, as they are no objects of the cluster."""
    kept: list[dict[str, Any]] = []
    for resource in cast(list[dict[str, Any]], content["resources"]):
        known = ids.get((resource["type"], resource["name"]))
        if known:
            kept.append({**resource, "id": known})
        elif resource.get("component"):
            kept.append(resource)
    return {**content, "resources": kept}


def main(argv: list[str] | None = None) -> int:
    """Rewrites the file in place; 2 with a message for wrong settings or another kind of file."""
    parser = argparse.ArgumentParser(prog="python -m infra.adopt", description=__doc__)
    parser.add_argument("file", type=Path, help="what `pulumi preview --import-file` wrote")
    parser.add_argument("--stack", required=True)
    parser.add_argument("--image", action="append", type=image_ref, default=[], metavar="NAME=REF")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides")
    given = parser.parse_args(argv)
    refs = [f"images.{name}={ref}" for name, ref in given.image]
    try:
        settings = load(stackfile.read(given.stack, overrides=[*given.overrides, *refs]))
        content = completed(json.loads(given.file.read_text()), ids_of(settings, given.stack))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(
            f"{given.file}: it is not what `pulumi preview --import-file` writes: {error!r}", file=sys.stderr
        )
        return WRONG_USAGE
    given.file.write_text(json.dumps(content, indent=4) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
