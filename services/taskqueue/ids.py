"""Task ids: uuid7, so that they sort by time; those of a named queue carry its name before a dot."""

import re

import uuid_utils

DEFAULT_QUEUE = "default"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_ID = re.compile(rf"(?:(?P<queue>[a-z0-9][a-z0-9_-]{{0,62}})\.)?(?P<uuid>{_UUID})")


def new_id(queue: str = DEFAULT_QUEUE) -> str:
    """A fresh id, greater than every id this process made before."""
    made = str(uuid_utils.uuid7())
    return made if queue == DEFAULT_QUEUE else f"{queue}.{made}"


def queue_of(task_id: str) -> str | None:
    """The queue that an id belongs to, or None where the text is no task id at all."""
    match = _ID.fullmatch(task_id)
    return (match["queue"] or DEFAULT_QUEUE) if match else None
