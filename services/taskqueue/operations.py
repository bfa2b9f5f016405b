"""What operators and clients do to tasks and queues that exist: cancel, purge, redrive, pause."""

from collections.abc import Iterable
from itertools import islice

from taskqueue import scripts
from taskqueue.core import SLICE, QueueCore
from taskqueue.scripts import Script


class QueueOperations(QueueCore):
    """Each answers per id what became of the task; '' where there is none."""

    async def cancel(self, ids: Iterable[str]) -> list[str]:
        """The status that each task now has; `cancelling` if it is in flight and was asked to stop."""
        return await self._for_each(scripts.CANCEL, ids)

    async def purge(self, ids: Iterable[str]) -> list[str]:
        """`purged`, or `purging` if it is in flight: then it goes when its worker reports."""
        return await self._for_each(scripts.PURGE, ids)

    async def redrive(self, ids: Iterable[str]) -> list[str]:
        """Queues failed and cancelled tasks again, all attempts before them; others keep their status."""
        return await self._for_each(scripts.REDRIVE, ids)

    async def pause(self) -> bool:
        """Tasks are accepted and settled, none is claimed; False if it was paused already."""
        return bool(await self._run(scripts.PAUSE, 1))

    async def resume(self) -> bool:
        """Lets a paused queue go on; False if it was not paused."""
        return bool(await self._run(scripts.PAUSE, 0))

    async def _for_each(self, script: Script, ids: Iterable[str]) -> list[str]:
        answers: list[str] = []
        rest = iter(ids)
        while part := list(islice(rest, SLICE)):
            answers += [answer.decode() for answer in await self._run(script, *part)]
        return answers

    async def check_writable(self) -> None:
        """Proves that Redis takes a write; raises QueueUnavailableError or QueueFullError."""
        await self._connection.command("SET", self.prefix + "probe", "1", "PX", 1000)
