"""Writes the table of a stack's settings into the documentation, from the settings' own definitions."""

import argparse
import enum
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from infra.blocks import Section, section_of
from infra.settings import Settings

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "infrastructure.md"
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def rows(
    section: type[Section] = Settings, prefix: str = "", given: object = None
) -> Iterator[tuple[str, ...]]:
    """Key, type, default and meaning of each setting; those of a section one below the other."""
    for name, field in section.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner = section_of(field.annotation)
        default = getattr(given, name) if given is not None else field.default
        if inner:
            held = default if isinstance(default, Section) else None
            yield from rows(inner, f"{key}.", held)
        else:
            shown = field.get_default(call_default_factory=True) if given is None else default
            yield f"`{key}`", _kind(field), _default(shown), field.description or ""


def _kind(field: FieldInfo) -> str:
    kinds = [kind for kind in _alternatives(field.annotation) if kind is not NoneType]
    return " or ".join(_name(kind) for kind in kinds)


def _alternatives(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) if NoneType in get_args(annotation) else (annotation,)


def _name(kind: object) -> str:
    origin: object = get_origin(kind)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    named: dict[object, str] = {
        int: "number",
        bool: "true, false",
        tuple: "list",
        dict: "map",
        SecretStr: "secret",
    }
    if (kind if origin is None else origin) in named:
        return named[kind if origin is None else origin]
    if origin is not None:  # Annotated: what it annotates
        return _name(get_args(kind)[0])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    return "text"


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, enum.Enum):
        return f"`{value.value}`"
    return "none" if value in (None, "", (), {}) else f"`{value}`"


def table() -> str:
    """The settings as a Markdown table."""
    head = ("Setting", "Type", "Default", "Meaning")
    lines = [head, ("---",) * 4, *rows()]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def renewed(text: str) -> str:
    """The document with the table as it is now; ValueError when its place is not marked."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT.name} has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{table()}{END}{after}"


def main(argv: list[str] | None = None) -> int:
    """Writes the table into the documentation, or with --check only says whether it is current."""
    parser = argparse.ArgumentParser(prog="python -m infra.document", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when the table is not current")
    check: bool = parser.parse_args(argv).check
    text = DOCUMENT.read_text()
    if renewed(text) == text:
        return 0
    if check:
        print(f"{DOCUMENT.name}: its settings are not current: python -m infra.document", file=sys.stderr)
        return 1
    DOCUMENT.write_text(renewed(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
