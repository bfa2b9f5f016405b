"""What must hold of a queue's keys at any moment, judged from the keys alone."""

from collections import Counter
from collections.abc import Iterator

from tests.integration.model.keyspace import Keyspace

LISTS = ("ready:0", "ready:1", "ready:2", "suspects")
PLACES = {
    "processing": "running",
    "scheduled": "scheduled",
    "completed": "done",
    "failed": "dead",
    "cancelled": "cancelled",
}
NAMED = {
    *(*LISTS, *PLACES.values(), "cancelling", "index", "counters", "control", "modes", "types"),
    *("wake", "waiting", "workers", "periodic"),
}


def check_invariants(found: Keyspace) -> None:
    """AssertionError naming the first that does not hold."""
    tasks = {key.removeprefix("task:"): task for key, task in found.items() if key.startswith("task:")}
    entries = Counter(task_id for name in LISTS for task_id in found.get(name, ()))
    _each_task_is_in_exactly_one_place(found, tasks, entries)
    queued = [task_id for task_id, task in tasks.items() if task["s"] == "queued"]
    dead_entries = entries.total() - len(queued)
    assert int(found.get("counters", {}).get("tombstones", 0)) == dead_entries, "tombstones"
    for task_id, task in tasks.items():
        live = int(task["s"] == "queued")
        assert entries[task_id] >= live + int(task.get("x", 0)), f"too few entries of {task_id}: {task}"
    assert set(found.get("index", ())) == set(tasks), "index"
    asked = {task_id for task_id, task in tasks.items() if "z" in task}
    assert found.get("cancelling", set()) == asked, "cancelling"
    assert len(found.get("wake", ())) <= len(found.get("waiting", ())), "tokens without a waiter"
    ownerless = list(_ownerless(found))
    assert not ownerless, f"keys without an owner: {ownerless}"


def _each_task_is_in_exactly_one_place(
    found: Keyspace, tasks: dict[str, dict[str, str]], entries: Counter[str]
) -> None:
    for status, place in PLACES.items():
        there = {task_id for task_id, task in tasks.items() if task["s"] == status}
        assert set(found.get(place, ())) == there, f"{place} holds what is not {status}, or not all of it"
    for task_id, task in tasks.items():
        if task["s"] == "queued":
            assert entries[task_id], f"{task_id} is queued and in no list"


def _ownerless(found: Keyspace) -> Iterator[str]:
    for key in found:
        kind, _, owner = key.partition(":")
        named = key in NAMED or kind in ("task", "idem")
        if not named and not (kind == "worker" and owner in found.get("workers", ())):
            yield key
