"""Drains whatever queues a Redis holds, and tells the keys that are left then: they leak."""

from collections.abc import Iterator

from taskqueue.connection import Connection
from taskqueue.model import MICROSECOND, Next, Retention
from taskqueue.queue import Queue

KEPT = {"counters", "types", "modes", "periodic"}
"""What a drained queue keeps: its totals, what workers told of types, when schedules last fired."""
BEGIN_US = 2_500_000_000_000_000
"""The year 2049: later than Redis' own clock and that of any test, so that every time has passed."""
MOST_CALLS = 100


class _Drain:
    """A worker from the future that ends everything and leaves."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.now_us = BEGIN_US
        self.queue = Queue(connection, name, clock=lambda: self.now_us)

    async def all(self) -> None:
        await self.queue.resume()
        page = await self.queue.page(MOST_CALLS * 100)
        await self.queue.cancel([task.id for task in page.tasks])
        for number in range(MOST_CALLS):
            reply = await self.queue.settle_and_claim("drain", number, [], 200, lease_us=1, wait_us=1)
            assert not reply.claims, "a task that was cancelled was given to a worker"
            # The first reap comes after a gap and gives each holder a lease, of 1 µs, which then is over.
            for pause_s in (90, 1):
                self.now_us += pause_s * MICROSECOND
                await self.queue.reap("drain", lease_us=1, retention=Retention.uniform(0))
            if reply.next is Next.WAIT and (await self.queue.stats()).stored == 0:
                break
        await self.queue.release("drain", [], leave=True)


async def leaked_keys(connection: Connection) -> list[str]:
    """Ends every task of every queue there, lets all times pass, and answers the keys that are left."""
    for name in sorted(set(_queues(await _keys(connection)))):
        await _Drain(connection, name).all()
    left = [key for key in await _keys(connection) if key.rpartition("}:")[2] not in KEPT]
    expiring = await connection.pipeline([("PTTL", key) for key in left])
    return sorted(key for key, left_ms in zip(left, expiring, strict=True) if left_ms == -1)


async def _keys(connection: Connection) -> list[str]:
    found: list[bytes] = await connection.command("KEYS", "tq:*")
    return [key.decode() for key in found]


def _queues(keys: list[str]) -> Iterator[str]:
    for key in keys:
        yield key.removeprefix("tq:{").partition("}:")[0]
