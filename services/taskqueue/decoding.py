"""Decodes a payload into its type, naming every field at fault rather than the first one only."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import msgspec

from taskqueue.errors import FieldError, InvalidTaskError

P = TypeVar("P")


@runtime_checkable
class Checked(Protocol):
    """A payload with rules beyond its types."""

    def faults(self) -> list[FieldError]: ...


def decoder(kind: type[P]) -> Callable[[bytes], P]:
    """A function that decodes payloads of `kind`; it raises InvalidTaskError with every fault."""
    read = msgspec.json.Decoder(kind).decode
    checked = issubclass(kind, Checked)

    def decode_payload(data: bytes) -> P:
        try:
            payload = read(data)
        except msgspec.ValidationError as error:
            raise InvalidTaskError(type_faults(data, kind) or [_fault(error, "data")]) from error
        except msgspec.DecodeError as error:
            raise InvalidTaskError([FieldError("data", f"is not JSON: {error}")]) from error
        if checked and (faults := cast(Checked, payload).faults()):
            raise InvalidTaskError(faults)
        return payload

    return decode_payload


def type_faults(data: bytes, kind: type[Any], root: str = "data") -> list[FieldError]:
    """Every field of the JSON object `data` that is missing, unknown, or of another type than the
    struct `kind` says; `root` is what their paths begin with.
    """
    found: Any = msgspec.json.decode(data)
    if not isinstance(found, dict):
        return [FieldError(root, "must be an object")]
    given = cast(dict[str, Any], found)
    faults: list[FieldError] = []
    before = f"{root}." if root else ""
    fields = {f.encode_name: f for f in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        if name not in given:
            if field.required:
                faults.append(FieldError(before + name, "is missing"))
        elif field.type is not msgspec.Raw:
            try:
                msgspec.convert(given[name], field.type)
            except msgspec.ValidationError as error:
                faults.append(_fault(error, before + name))
    if kind.__struct_config__.forbid_unknown_fields:
        faults += [FieldError(before + n, "is not a field of this type") for n in given if n not in fields]
    return faults


def _fault(error: msgspec.ValidationError, root: str) -> FieldError:
    """msgspec says "Expected `str`, got `int` - at `$.a`": the path goes to the field's name."""
    message, _, path = str(error).partition(" - at `$")
    return FieldError(root + path.rstrip("`"), message[0].lower() + message[1:])
