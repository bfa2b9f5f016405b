"""What can be looked up in a queue: tasks, pages of them, dead letters, totals, workers."""

from typing import Any, NamedTuple

import msgspec

from taskqueue.core import SLICE, QueueCore
from taskqueue.errors import TaskNotFoundError
from taskqueue.model import MICROSECOND, Attempt, Page, Priority, Stats, StoredTask, WorkerRecord
from taskqueue.states import FINISHED, Status

_FIELDS = ("t", "s", "c", "a", "d", "u", "r", "p", "w", "g", "k", "h", "z")
_NOT_TOTALS = {"reaped_at", "tombstones"}
_PRIORITIES = (Priority.HIGH, Priority.NORMAL, Priority.LOW)
_FINISHED_KEYS = {Status.COMPLETED: "done", Status.FAILED: "dead", Status.CANCELLED: "cancelled"}


class Finished(NamedTuple):
    """When a task ended (µs since 1970), and which; in the order of the pages."""

    at_us: int
    id: str


class QueueReads(QueueCore):
    """Reads only; nothing here changes a task."""

    async def get(self, task_id: str) -> StoredTask:
        """The task as stored; TaskNotFoundError where there is none."""
        row, due = await self._connection.pipeline(
            [
                ("HMGET", self._task_key(task_id), *_FIELDS),
                ("ZSCORE", self.prefix + "scheduled", task_id),
            ]
        )
        if row[0] is None:
            raise TaskNotFoundError(f"no task has the id {task_id}")
        return _stored(task_id, row, None if due is None else int(float(due)))

    async def page(self, limit: int, after: str | None = None) -> Page:
        """Up to `limit` tasks, newest first, older than the id `after`. Costs O(log n + limit)."""
        newest = "+" if after is None else f"({after}"
        index = self.prefix + "index"
        count, found = await self._connection.pipeline(
            [("ZCARD", index), ("ZRANGE", index, newest, "-", "BYLEX", "REV", "LIMIT", 0, limit + 1)]
        )
        ids = [i.decode() for i in found[:limit]]
        return Page(await self.tasks(ids), count, ids[-1] if len(found) > limit else None)

    async def finished(
        self, status: Status, limit: int, after: Finished | None = None, until_us: int | None = None
    ) -> list[Finished]:
        """Up to `limit` tasks that ended so, oldest end first; those after one of another page, and
        not after a time (µs since 1970). Costs O(log n + limit), whatever came or went meanwhile.
        """
        assert status in FINISHED
        begin, end = after.at_us if after else "-inf", until_us if until_us is not None else "+inf"
        # A script call ends up to a slice of tasks at one time, so that many may be of the page before.
        most = limit + (SLICE if after else 0)
        key = self.prefix + _FINISHED_KEYS[status]
        found: list[Any] = await self._connection.command(
            "ZRANGEBYSCORE", key, begin, end, "WITHSCORES", "LIMIT", 0, most
        )
        ended = [Finished(int(float(at)), task_id.decode()) for task_id, at in _pairs(found)]
        return [each for each in ended if after is None or each > after][:limit]

    async def finished_count(self, status: Status) -> int:
        """How many tasks that ended so are kept."""
        return await self._connection.command("ZCARD", self.prefix + _FINISHED_KEYS[status])

    async def types(self, ids: list[str]) -> list[str | None]:
        """The type of each task, None where there is no task."""
        found = await self._connection.pipeline(("HGET", self._task_key(i), "t") for i in ids)
        return [None if kind is None else kind.decode() for kind in found]

    async def now_us(self) -> int:
        """The queue's own time, by which tasks end: Redis', in microseconds since 1970."""
        if self._clock is not None:
            return self._clock()
        seconds, micros = await self._connection.command("TIME")
        return int(seconds) * MICROSECOND + int(micros)

    async def tasks(self, ids: list[str]) -> list[StoredTask]:
        """Those of the tasks that there are, in the order of their ids."""
        rows = await self._connection.pipeline(("HMGET", self._task_key(i), *_FIELDS) for i in ids)
        # A task may have been removed since its id was read.
        return [_stored(i, row) for i, row in zip(ids, rows, strict=True) if row[0] is not None]

    async def stats(self) -> Stats:
        """Sizes of every place a task can be in, and the totals."""
        lists = ("ready:0", "ready:1", "ready:2", "suspects")
        sets = ("running", "scheduled", "done", "dead", "cancelled", "index", "workers")
        *sizes, paused, counters = await self._connection.pipeline(
            [
                *(("LLEN", self.prefix + key) for key in lists),
                *(("ZCARD", self.prefix + key) for key in sets),
                ("HEXISTS", self.prefix + "control", "paused"),
                ("HGETALL", self.prefix + "counters"),
            ]
        )
        counts = {k.decode(): int(v) for k, v in counters.items()}
        waiting, (running, scheduled, done, dead, cancelled, stored, workers) = sizes[:4], sizes[4:]
        return Stats(
            queued=max(0, sum(waiting) - counts.get("tombstones", 0)),
            processing=running,
            scheduled=scheduled,
            completed=done,
            failed=dead,
            cancelled=cancelled,
            stored=stored,
            workers=workers,
            paused=bool(paused),
            totals={name: count for name, count in counts.items() if name not in _NOT_TOTALS},
        )

    async def last_fired(self, schedule: str) -> int | None:
        """The due time (µs since 1970) for which a periodic task was last queued, if ever."""
        found = await self._connection.command("HGET", self.prefix + "periodic", schedule)
        return None if found is None else int(found)

    async def workers(self) -> list[WorkerRecord]:
        """Every worker heard of in the last minute, by name."""
        key = self.prefix + "workers"
        found: list[bytes] = await self._connection.command("ZRANGE", key, 0, -1, "WITHSCORES")
        seen = [(name.decode(), int(float(at))) for name, at in _pairs(found)]
        told = await self._connection.pipeline(
            ("HGET", f"{self.prefix}worker:{name}", "about") for name, _ in seen
        )
        records = [
            WorkerRecord(name, at, msgspec.json.decode(about) if about else {})
            for (name, at), about in zip(seen, told, strict=True)
        ]
        return sorted(records, key=lambda record: record.name)

    async def memory_share(self) -> float:
        """Memory in use as a share of maxmemory; 0 where there is no limit."""
        info: dict[str, Any] = await self._connection.command("INFO", "memory")
        limit = int(info.get("maxmemory", 0))
        return int(info["used_memory"]) / limit if limit else 0.0


def _pairs(found: list[Any]) -> list[tuple[bytes, Any]]:
    """The client gives scores as pairs or flat, by the protocol that it speaks."""
    if found and isinstance(found[0], (list, tuple)):
        return [tuple(pair) for pair in found]
    return list(zip(found[::2], found[1::2], strict=True))


def _stored(task_id: str, row: list[bytes | None], due_us: int | None = None) -> StoredTask:
    (
        kind,
        status,
        created,
        attempts,
        data,
        updated,
        result,
        priority,
        worker,
        progress,
        kills,
        history,
        asked,
    ) = row
    assert kind is not None
    assert status is not None
    return StoredTask(
        id=task_id,
        type=kind.decode(),
        status=Status(status.decode()),
        created_us=int(created or 0),
        attempts=int(attempts or 0),
        data=data or b"{}",
        updated_us=None if updated is None else int(updated),
        result=result or None,
        priority=Priority.NORMAL if priority is None else _PRIORITIES[int(priority)],
        worker=None if worker is None else worker.decode(),
        progress=progress,
        due_us=due_us,
        kills=int(kills or 0),
        history=[] if history is None else [_attempt(line) for line in history.split(b"\n")],
        cancelling=asked is not None,
    )


def _attempt(line: bytes) -> Attempt:
    number, worker, began, ended, outcome, reason = line.split(b"\t", 5)
    return Attempt(
        int(number), worker.decode(), int(began) if began else None, int(ended), outcome.decode(), reason
    )
