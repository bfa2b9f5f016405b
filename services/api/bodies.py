"""Bodies of requests: their media type, and JSON decoded into structs with every fault named."""

from typing import Generic, TypeVar

import msgspec
from aiohttp import web
from taskqueue.decoding import type_faults
from taskqueue.errors import FieldError, InvalidTaskError

from api.problems import InvalidJsonError

T = TypeVar("T", bound=msgspec.Struct)
_JSON = "application/json"


def check_media_type(request: web.Request) -> None:
    """Raises 415 for what was not sent as JSON."""
    if request.headers.get("Content-Type") == _JSON:
        return  # as nearly every client sends it; parsing costs more
    kind = request.content_type
    if kind != _JSON and not kind.endswith("+json"):
        raise web.HTTPUnsupportedMediaType(text=f"send the body as Content-Type: {_JSON}")


class BodyDecoder(Generic[T]):
    """Decodes bodies into one kind of struct."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._decode = msgspec.json.Decoder(kind).decode

    def read(self, body: bytes | msgspec.Raw) -> T:
        """Raises InvalidTaskError with every fault, or InvalidJsonError for what is no JSON at all."""
        try:
            try:
                return self._decode(body)
            except msgspec.ValidationError as error:
                faults = type_faults(bytes(body), self._kind, root="")
                raise InvalidTaskError(faults or [FieldError("", str(error))]) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidJsonError(f"the body is not JSON: {error}") from error
