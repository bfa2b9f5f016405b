"""Task ids: uuid7, so that they sort by time; those of a named queue carry its name before a dot."""

import re

import uuid_utils

DEFAULT_QUEUE = "default"
_NAME = r"[a-z0-9][a-z0-9_-]{0,62}"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_ID = re.compile(rf"(?:(?P<queue>{_NAME})\.)?(?P<uuid>{_UUID})")


def new_id(queue: str = DEFAULT_QUEUE) -> str:
    """A fresh id, greater than every id this process made before."""
    made = str(uuid_utils.uuid7())
    return made if queue == DEFAULT_QUEUE else f"{queue}.{made}"


def queue_of(task_id: str) -> str | None:
    """The queue that an id belongs to, or None where the text is no task id at all."""
    match = _ID.fullmatch(task_id)
    return (match["queue"] or DEFAULT_QUEUE) if match else None


def is_queue_name(text: str) -> bool:
    """Lower-case letters, digits, - and _, at most 63 of them: what a Kubernetes label can hold."""
    return re.fullmatch(_NAME, text) is not None
