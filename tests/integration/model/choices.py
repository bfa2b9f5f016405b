"""What a history is made of: which calls, what tasks bring, how attempts end."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
from taskqueue.model import IDEMPOTENCY_TTL_US, MICROSECOND, Extra
from taskqueue.states import Status

BEGIN_US = 1_800_000_000_000_000
TYPES = ("email", "once")
OUTCOMES = (
    *((Status.COMPLETED, 0, True), (Status.FAILED, 0, True), (Status.CANCELLED, 0, True)),
    *((Status.SCHEDULED, 3, False), (Status.SCHEDULED, 15, True)),
)
"""Status, seconds until the next attempt, whether this one counts."""
Draw = Callable[[st.SearchStrategy[Any]], Any]
_GIVEN: dict[str, tuple[dict[str, Any], ...]] = {
    "level": ({"priority": 0}, {"priority": 1}, {"priority": 2}),
    "delay": tuple({"delay_us": n * MICROSECOND} for n in (0, 1, 7, 20)),
    "due": tuple({"due_us": BEGIN_US + n * MICROSECOND} for n in (0, 5, 60)),
    "options": ({"options": '{"max_attempts":2}'},),
    "periodic": tuple({"periodic": ("hourly", due)} for due in (1, 2, 3)),
    "key": tuple({"key": k, "body": b, "ttl_us": IDEMPOTENCY_TTL_US} for k in "ab" for b in "xy"),
}
_BROUGHT = ((), (), ("level",), ("delay",), ("due", "level"), ("options",), ("periodic",), ("key", "delay"))
STEPS = (
    *("enqueue", "enqueue", "enqueue_many", "newer_producer"),
    *("work", "work", "work", "work", "work", "work", "work", "work"),
    *("repeat", "renew", "release", "leave", "kill", "take_token"),
    *("reaps", "reaps", "reaps", "gap"),
    *("cancel", "cancel", "purge", "redrive", "redrive", "pause", "resume", "resume", "resume"),
)


@st.composite
def extras(draw: st.DrawFn) -> Extra | None:
    """What a task may bring: nothing, or any of what there is."""
    given: dict[str, Any] = {}
    for kind in draw(st.sampled_from(_BROUGHT)):
        given |= draw(st.sampled_from(_GIVEN[kind]))
    return Extra(**given) if given else None
