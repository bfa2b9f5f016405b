"""Turns the body of a POST into a task to store, or says everything that is wrong with it."""

import time
from typing import Any, cast

import msgspec
from aiohttp import web
from jsonschema import Draft202012Validator
from taskqueue.catalog import Catalog
from taskqueue.decoding import decoder
from taskqueue.errors import FieldError, InvalidTaskError
from taskqueue.ids import new_id
from taskqueue.model import NewTask
from taskqueue.payloads.email import EmailPayload

from api.problems import InvalidJsonError

SCHEMA_AGE_S = 5.0
"""How long a published schema is used before it is read again: a worker may bring a newer one."""


_check_email = decoder(EmailPayload)


class TaskBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sends."""

    type: str
    data: msgspec.Raw


class Intake:
    """Checks bodies: `email` by its own rules, other types by the schema their workers published."""

    def __init__(self, catalog: Catalog, queue: str) -> None:
        self._catalog = catalog
        self._queue = queue
        self._decoder = msgspec.json.Decoder(TaskBody)
        self._validators: dict[str, tuple[float, Draft202012Validator]] = {}

    async def read(self, request: web.Request) -> NewTask:
        """The task with a fresh id; raises an HTTP error or InvalidTaskError."""
        kind = request.content_type
        if kind != "application/json" and not kind.endswith("+json"):
            raise web.HTTPUnsupportedMediaType(text="send the task as Content-Type: application/json")
        body = self._envelope(await request.read())
        data = bytes(body.data)
        if body.type == "email":
            _check_email(data)
        else:
            await self._check_published(body.type, data)
        return NewTask(new_id(self._queue), body.type, data)

    def _envelope(self, body: bytes) -> TaskBody:
        try:
            try:
                return self._decoder.decode(body)
            except msgspec.ValidationError as error:
                raise InvalidTaskError(_envelope_faults(body)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidJsonError(f"the body is not JSON: {error}") from error

    async def _check_published(self, kind: str, data: bytes) -> None:
        validator = await self._validator(kind)
        faults = [
            FieldError(".".join(["data", *map(str, error.absolute_path)]), error.message)
            for error in validator.iter_errors(msgspec.json.decode(data))  # pyright: ignore[reportUnknownMemberType]
        ]
        if faults:
            raise InvalidTaskError(faults)

    async def _validator(self, kind: str) -> Draft202012Validator:
        made, validator = self._validators.get(kind, (0.0, None))
        if validator is not None and time.monotonic() - made < SCHEMA_AGE_S:
            return validator
        schema = await self._catalog.schema(kind)
        if schema is None:
            known = ", ".join(sorted({"email", *await self._catalog.names()}))
            raise InvalidTaskError([FieldError("type", f"is not served by any worker; known: {known}")])
        validator = Draft202012Validator(msgspec.json.decode(schema))
        self._validators[kind] = (time.monotonic(), validator)
        return validator


def _envelope_faults(body: bytes) -> list[FieldError]:
    found: Any = msgspec.json.decode(body)
    if not isinstance(found, dict):
        return [FieldError("", "the body must be an object with type and data")]
    given = cast(dict[str, Any], found)
    faults = [FieldError(name, "is missing") for name in ("type", "data") if name not in given]
    if "type" in given and not isinstance(given["type"], str):
        faults.append(FieldError("type", "must be a string"))
    return faults + [FieldError(n, "is not a field of a task") for n in given if n not in ("type", "data")]
