"""The queue: each method is one call of one Lua script, so a task is never between two places."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from taskqueue import scripts
from taskqueue.connection import Connection
from taskqueue.errors import TaskNotFoundError, UnsuitableRedisError
from taskqueue.ids import DEFAULT_QUEUE
from taskqueue.model import (
    MICROSECOND,
    Claim,
    ClaimReply,
    NewTask,
    Outcome,
    Page,
    ReapReply,
    Stats,
    StoredTask,
)
from taskqueue.states import Status

SLICE = 200
"""Tasks a script call: longer ones would make every other client wait (about 1 ms each)."""
REAP_GAP_US = 2 * MICROSECOND
FORGET_WORKER_US = 60 * MICROSECOND
_FIELDS = ("t", "s", "c", "a", "d", "u", "r")


class Queue:
    """One named queue on one Redis.

    `clock` returns microseconds since 1970 and is for tests; without it Redis' own clock decides.
    Every method raises QueueUnavailableError when Redis cannot be reached.
    """

    def __init__(
        self, connection: Connection, name: str = DEFAULT_QUEUE, clock: Callable[[], int] | None = None
    ) -> None:
        self.name = name
        self.prefix = f"tq:{{{name}}}:"
        self._connection = connection
        self._clock = clock

    async def _run(self, script: scripts.Script, *args: Any) -> Any:
        now = b"" if self._clock is None else self._clock()
        return await self._connection.script(script.sha, script.source, self.prefix, (now, *args))

    async def enqueue(self, tasks: Iterable[NewTask]) -> list[bool]:
        """Stores and queues tasks; per task True if stored now, False if its id was stored before.

        Idempotent by id, so a call whose answer was lost is simply made again. Runs in slices of
        200; raises QueueFullError before the first write of the slice that did not fit.
        """
        stored: list[bool] = []
        rest = iter(tasks)
        while part := list(islice(rest, SLICE)):
            flat = [value for task in part for value in (task.id, task.type, task.data)]
            stored += [bool(made) for made in await self._run(scripts.ENQUEUE, *flat)]
        return stored

    async def settle_and_claim(
        self,
        worker: str,
        sequence: int,
        outcomes: Sequence[Outcome],
        want: int,
        *,
        lease_us: int,
        wait_us: int,
    ) -> ClaimReply:
        """Reports outcomes and takes up to `want` tasks in one round trip.

        A call with the sequence number of the last one is a repeat: it answers the same again.
        """
        flat: list[Any] = []
        for o in outcomes:
            flat += (o.id, o.epoch, o.status.value, o.retry_in_us, o.result, int(o.counts))
        lost, claims = await self._run(
            scripts.SETTLE_AND_CLAIM, worker, sequence, lease_us, want, wait_us, *flat
        )
        return ClaimReply(
            lost=[task_id.decode() for task_id in lost],
            claims=[
                Claim(
                    id=claims[i].decode(),
                    epoch=int(claims[i + 1]),
                    type=claims[i + 2].decode(),
                    data=claims[i + 3],
                    created_us=int(claims[i + 4]),
                    attempt=int(claims[i + 5]),
                )
                for i in range(0, len(claims), 6)
            ],
        )

    async def renew(self, held: Iterable[tuple[str, int]], *, lease_us: int) -> list[str]:
        """Extends the leases of (id, epoch) pairs; returns the ids that are no longer held."""
        lost: list[str] = []
        rest = iter(held)
        while part := list(islice(rest, SLICE)):
            flat = [value for pair in part for value in pair]
            lost += [i.decode() for i in await self._run(scripts.RENEW, lease_us, *flat)]
        return lost

    async def release(self, worker: str, held: Iterable[tuple[str, int, bool]], *, leave: bool) -> list[str]:
        """Hands back (id, epoch, begun) tasks to the head of the queue; `leave` forgets the worker.

        An attempt that was not begun is not counted. Returns the ids that were no longer held.
        """
        flat = [value for task_id, epoch, begun in held for value in (task_id, epoch, int(begun))]
        return [i.decode() for i in await self._run(scripts.RELEASE, worker, int(leave), *flat)]

    async def reap(self, worker: str, *, lease_us: int, retention_us: int) -> ReapReply:
        """Takes back what lapsed, queues what is due, removes what is past its retention."""
        late, more, next_due = await self._run(
            scripts.REAP, worker, lease_us, REAP_GAP_US, retention_us, FORGET_WORKER_US
        )
        return ReapReply([i.decode() for i in late], bool(more), None if next_due < 0 else int(next_due))

    async def wait_for_wake(self, timeout_s: float) -> bool:
        """Blocks until work may be there; False when the time ran out.

        The connection's own time-out has to be longer than `timeout_s`.
        """
        return await self._connection.command("BLPOP", self.prefix + "wake", timeout_s) is not None

    async def get(self, task_id: str) -> StoredTask:
        """The task as stored; TaskNotFoundError where there is none."""
        values = await self._connection.command("HMGET", self._task_key(task_id), *_FIELDS)
        if values[0] is None:
            raise TaskNotFoundError(f"no task has the id {task_id}")
        return _stored(task_id, values)

    async def page(self, limit: int, after: str | None = None) -> Page:
        """Up to `limit` tasks, newest first, older than the id `after`. Costs O(log n + limit)."""
        newest = "+" if after is None else f"({after}"
        index = self.prefix + "index"
        count, found = await self._connection.pipeline(
            [("ZCARD", index), ("ZRANGE", index, newest, "-", "BYLEX", "REV", "LIMIT", 0, limit + 1)]
        )
        ids = [i.decode() for i in found[:limit]]
        rows = await self._connection.pipeline(("HMGET", self._task_key(i), *_FIELDS) for i in ids)
        # A task may have been removed between the two calls.
        tasks = [_stored(i, row) for i, row in zip(ids, rows, strict=True) if row[0] is not None]
        return Page(tasks, count, ids[-1] if len(found) > limit else None)

    async def stats(self) -> Stats:
        """Sizes of every place a task can be in, and the totals."""
        sets = ("running", "scheduled", "done", "dead", "index", "workers")
        *sizes, totals = await self._connection.pipeline(
            [
                ("LLEN", self.prefix + "ready:1"),
                *(("ZCARD", self.prefix + key) for key in sets),
                ("HGETALL", self.prefix + "counters"),
            ]
        )
        queued, running, scheduled, done, dead, stored, workers = sizes
        counts = {k.decode(): int(v) for k, v in totals.items() if k != b"reaped_at"}
        return Stats(queued, running, scheduled, done, dead, stored, workers, counts)

    async def check_writable(self) -> None:
        """Proves that Redis takes a write; raises QueueUnavailableError or QueueFullError."""
        await self._connection.command("SET", self.prefix + "probe", "1", "PX", 1000)

    async def check_suitable(self) -> None:
        """Raises UnsuitableRedisError for a Redis that could drop tasks or cannot run the scripts.

        Reads INFO, since CONFIG is often closed on managed ones.
        """
        info: dict[str, Any] = await self._connection.command("INFO")
        version = str(info["redis_version"])
        if int(version.split(".")[0]) < 7:
            raise UnsuitableRedisError(f"Redis {version} is too old: the scripts need 7.0 or later")
        policy = str(info.get("maxmemory_policy", "noeviction"))
        if policy != "noeviction":
            raise UnsuitableRedisError(
                f"Redis may evict tasks: its maxmemory-policy is {policy}, set it to noeviction"
            )

    async def memory_share(self) -> float:
        """Memory in use as a share of maxmemory; 0 where there is no limit."""
        info: dict[str, Any] = await self._connection.command("INFO", "memory")
        limit = int(info.get("maxmemory", 0))
        return int(info["used_memory"]) / limit if limit else 0.0

    def _task_key(self, task_id: str) -> str:
        return f"{self.prefix}task:{task_id}"


def _stored(task_id: str, values: list[bytes | None]) -> StoredTask:
    kind, status, created, attempts, data, updated, result = values
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
        result=result,
    )
