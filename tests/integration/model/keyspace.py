"""Everything that Redis holds of a queue, read in one call and at one moment."""

import hashlib
from collections.abc import Callable
from typing import Any, cast

from taskqueue.connection import Connection

Keyspace = dict[str, Any]
"""Key, without the queue's prefix -> dict (hash: texts; zset: whole scores), list, set or text."""

_DUMP = b"""#!lua flags=no-writes
local reads = { string = { 'GET' }, hash = { 'HGETALL' }, set = { 'SMEMBERS' },
  list = { 'LRANGE', 0, -1 }, zset = { 'ZRANGE', 0, -1, 'WITHSCORES' } }
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  local read = reads[kind]
  found[#found + 1] = { key, kind, redis.call(read[1], key, select(2, unpack(read))) }
end
return found
"""
_SHA = hashlib.sha1(_DUMP, usedforsecurity=False).hexdigest()


async def keyspace(connection: Connection, prefix: str) -> Keyspace:
    """What there is. A key outside the prefix is kept under its whole name, so that it is seen."""
    found = await connection.script(_SHA, _DUMP, prefix, ())
    return {key.decode().removeprefix(prefix): _SHAPES[kind](content) for key, kind, content in found}


def _pairs(flat: list[bytes]) -> dict[str, str]:
    texts = _texts(flat)
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _scores(flat: list[bytes]) -> dict[str, int]:
    return {member: int(float(score)) for member, score in _pairs(flat).items()}


def _texts(items: list[bytes]) -> list[str]:
    return [item.decode() for item in items]


_SHAPES: dict[bytes, Callable[[Any], Any]] = {
    b"string": lambda text: cast(bytes, text).decode(),
    b"hash": _pairs,
    b"zset": _scores,
    b"list": _texts,
    b"set": lambda items: set(_texts(items)),
}
