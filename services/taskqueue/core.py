"""What every part of the queue's client shares: its keys, its clock, and how a script is run."""

from collections.abc import Callable
from typing import Any

from taskqueue.connection import Connection
from taskqueue.errors import QueueUnavailableError
from taskqueue.ids import DEFAULT_QUEUE
from taskqueue.scripts import Script

SLICE = 200
"""Tasks a script call: longer ones would make every other client wait (about 1 ms each)."""

FSYNC_MS = 3000
"""With appendfsync everysec a write is on disk within two seconds (redis.conf: at most that is lost)."""


class QueueCore:
    """One named queue on one Redis.

    `clock` returns microseconds since 1970 and is for tests; without it Redis' own clock decides.
    """

    def __init__(
        self, connection: Connection, name: str = DEFAULT_QUEUE, clock: Callable[[], int] | None = None
    ) -> None:
        self.name = name
        self.prefix = f"tq:{{{name}}}:"
        self._connection = connection
        self._clock = clock

    async def _run(self, script: Script, *args: Any) -> Any:
        now = b"" if self._clock is None else self._clock()
        return await self._connection.script(script.sha, script.source, self.prefix, (now, *args))

    async def _run_durably(self, script: Script, *args: Any) -> Any:
        now = b"" if self._clock is None else self._clock()
        durable = await self._connection.script_durably(
            script.sha, script.source, self.prefix, (now, *args), timeout_ms=FSYNC_MS
        )
        if not durable.synced:
            raise QueueUnavailableError(f"Redis had it not on disk within {FSYNC_MS} ms")
        return durable.answer

    def _task_key(self, task_id: str) -> str:
        return f"{self.prefix}task:{task_id}"
