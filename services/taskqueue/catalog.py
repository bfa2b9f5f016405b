"""The task types that workers serve, published in Redis so that the API knows them without their code."""

from collections.abc import Mapping

from taskqueue.connection import Connection
from taskqueue.ids import DEFAULT_QUEUE


class Catalog:
    """A hash of type name -> JSON Schema of its payload. It outlives the workers that wrote it."""

    def __init__(self, connection: Connection, queue: str = DEFAULT_QUEUE) -> None:
        self._connection = connection
        self._key = f"tq:{{{queue}}}:types"
        self._modes = f"tq:{{{queue}}}:modes"

    async def publish(self, schemas: Mapping[str, bytes]) -> None:
        """Adds or replaces the schemas of these types."""
        flat = [value for pair in schemas.items() for value in pair]
        await self._connection.command("HSET", self._key, *flat)

    async def publish_modes(self, at_most_once: Mapping[str, bool]) -> None:
        """Tells the scripts which types must not be run again once they were begun."""
        commands: list[tuple[str, ...]] = [
            ("HSET", self._modes, kind, "at-most-once") if once else ("HDEL", self._modes, kind)
            for kind, once in at_most_once.items()
        ]
        await self._connection.pipeline(commands)

    async def schema(self, kind: str) -> bytes | None:
        """The JSON Schema of a type, or None where no worker has ever served it."""
        return await self._connection.command("HGET", self._key, kind)

    async def names(self) -> list[str]:
        """The types known, sorted."""
        found: list[bytes] = await self._connection.command("HKEYS", self._key)
        return sorted(name.decode() for name in found)
