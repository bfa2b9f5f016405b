"""Removes the data of one recipient, wherever in a queue it is."""

from typing import Any, NamedTuple

import msgspec
from taskqueue.model import StoredTask
from taskqueue.queue import Queue

PAGE = 100
"""Tasks read a step: neither Redis nor this process is held up for longer than that takes."""


class Purged(NamedTuple):
    """How many tasks are gone, and how many go once their worker reports."""

    purged: int = 0
    purging: int = 0


class _Addressed(msgspec.Struct, frozen=True):
    recipient: Any = None


_addressed = msgspec.json.Decoder(_Addressed).decode


def mailbox(address: str) -> str:
    """An address as it is compared: domains know no case, what stands before the @ may."""
    local, at, domain = address.rpartition("@")
    return local + at + domain.lower()


async def purge_recipient(queue: Queue, recipient: str) -> Purged:
    """Walks all tasks that the queue holds now, newest first: O(n), a page at a time."""
    wanted = mailbox(recipient)
    purged = purging = 0
    cursor: str | None = None
    while True:
        page = await queue.page(PAGE, cursor)
        answers = await queue.purge([task.id for task in page.tasks if _is_for(task, wanted)])
        purged += answers.count("purged")
        purging += answers.count("purging")
        if page.next is None:
            return Purged(purged, purging)
        cursor = page.next


def _is_for(task: StoredTask, wanted: str) -> bool:
    try:
        found = _addressed(task.data).recipient
    except msgspec.DecodeError:  # the payload of another type need not be an object
        return False
    return isinstance(found, str) and mailbox(found) == wanted
