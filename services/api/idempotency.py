"""Idempotency keys: what a client may choose as one, and the hashes that the queue keeps of it."""

import re
from hashlib import blake2b
from typing import Any, NamedTuple, cast

import msgspec
from taskqueue.errors import FieldError, InvalidTaskError

HEADER = "Idempotency-Key"
ITEM_FIELD = "idempotency_key"
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_DIGEST_BYTES = 16
_canonical = msgspec.json.Encoder(order="deterministic").encode


class IdempotencyKey(NamedTuple):
    """A key and the body that it came with, hashed: what a client chose is stored nowhere."""

    key: str
    body: str


def idempotency_key(chosen: str, body: bytes | msgspec.Raw, field: str = HEADER) -> IdempotencyKey:
    """Raises InvalidTaskError for what is no key. Bodies are the same if their JSON says the same:
    the order of fields, white space, and the key itself in an item of a batch make no difference.
    """
    if not _KEY.fullmatch(chosen):
        raise InvalidTaskError([FieldError(field, "must be 1 to 255 printable ASCII characters")])
    said = cast(dict[str, Any], msgspec.json.decode(body))
    said.pop(ITEM_FIELD, None)
    return IdempotencyKey(_hashed(chosen.encode()), _hashed(_canonical(said)))


def _hashed(text: bytes) -> str:
    return blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()
