"""The bench's task types of this queue: the handlers that every peer has, told of by `notes`."""

import asyncio

import msgspec
from worker.context import TaskContext
from worker.registry import task

from loadtest.bench.peers import notes


class Nothing(msgspec.Struct, frozen=True):
    """The payload of a task that does nothing."""

    number: int


class Sent(msgspec.Struct, frozen=True):
    """When its client sent the task, on the machine's monotonic clock."""

    sent_s: float


class Nap(msgspec.Struct, frozen=True):
    """A task to be caught in the middle."""

    name: str
    nap_s: float


@task("nothing")
async def nothing(payload: Nothing, context: TaskContext[None]) -> int:
    return notes.count()


@task("timed")
async def timed(payload: Sent, context: TaskContext[None]) -> int:
    return notes.time_from(payload.sent_s)


@task("nap", max_attempts=5)
async def nap(payload: Nap, context: TaskContext[None]) -> str:
    notes.begin(payload.name)
    await asyncio.sleep(payload.nap_s)
    return payload.name
