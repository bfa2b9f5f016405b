"""A real Redis with an AOF that is killed and started again, and what its AOF holds."""

import re
from pathlib import Path

from loadtest.chaos.processes import Place, listening

_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TAIL_BYTES = 8 << 20
"""More than is written in the few seconds before a kill that are asked about."""


class Redis:
    """One Redis on one folder. `before` is put before its command (strace)."""

    def __init__(
        self, folder: Path, port: int, appendfsync: str, log: Path, before: tuple[str, ...] = ()
    ) -> None:
        folder.mkdir(parents=True)
        self.folder, self.port, self._log = folder, port, log
        self._words = [
            "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", appendfsync, "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        self.place = Place("redis", [*before, *self._words], {}, log)

    async def start(self) -> None:
        """Starts it on the same data and waits until that is loaded."""
        self.place.start()
        await listening(self.place, self.port, b"PING\r\n", b"+PONG")

    async def start_without_prefix(self) -> None:
        """As `start`, with nothing before the command from now on."""
        self.place = Place("redis", self._words, {}, self._log)
        await self.start()

    def increment(self) -> Path:
        """The file that is written to at this time."""
        return max(self.folder.glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime)

    def ids_at_the_end(self) -> set[str]:
        """The task ids named in the last 8 MiB of the AOF, as the page cache has it."""
        with self.increment().open("rb") as aof:
            aof.seek(max(0, aof.seek(0, 2) - TAIL_BYTES))
            return {found.decode() for found in _ID.findall(aof.read())}
