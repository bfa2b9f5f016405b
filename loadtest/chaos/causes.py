"""What was delivered twice, and which injected fault is the cause of each: a matching, and pure.

Of the deliveries of one task one was settled. Each other one must have been cut off from its
settling by a fault between the end of its DATA and the settle: on its worker, on that worker's line
to Redis, on Redis, or by the mail server that took the mail and dropped the connection. A fault
explains, for each worker, no more deliveries than that worker had places.
"""

from collections import defaultdict
from dataclasses import dataclass

from loadtest.chaos.fates import Fate
from loadtest.chaos.record import Conditions, Fault, Kind, Record, Send

SETTLE_S = 2.0
"""An outcome is sent within 5 ms of the answer, and that call answers within REDIS_TIMEOUT_S (2 s)."""
SERVED_S = 1.0
"""What a process had written before it was killed still reaches the mail server, which may be busy."""
POSTPONED_S = 2.0
"""With everysec Redis puts off writing for so long while an fsync is under way: a kill rolls that back."""
SETTLED = "settled"
_ON_WORKER = (Kind.WORKER_KILL, Kind.WORKER_FREEZE, Kind.WORKER_STALL, Kind.WORKER_CUT)
"""SIGTERM is no excuse: the grace period outlasts every mail."""
_LIKELIEST_FIRST = (Kind.WORKER_KILL, Kind.WORKER_FREEZE, Kind.REDIS_KILL, Kind.WORKER_STALL, Kind.WORKER_CUT)
"""A call that is repeated survives a cut: one counts as a cause only where nothing else can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A recipient that got its mail more than once; `causes` has one for each delivery but the settled.

    A second task id for one POST has no cause: no fault may make one.
    """

    key: str
    task_ids: tuple[str, ...]
    sends: tuple[Send, ...]
    causes: tuple[str, ...]
    unexplained: int


def duplicates(record: Record) -> tuple[Duplicate, ...]:
    """Every recipient with more than one delivery, each delivery with its cause."""
    taken: defaultdict[str, list[Send]] = defaultdict(list)
    for send in record.sends:
        if send.taken:
            taken[send.key].append(send)
    twice = {key: sorted(sends, key=lambda s: s.end or 0.0) for key, sends in taken.items() if len(sends) > 1}
    matched = _match([send for sends in twice.values() for send in sends], record)
    return tuple(_duplicate(key, sends, matched) for key, sends in sorted(twice.items()))


def _duplicate(key: str, sends: list[Send], matched: dict[int, str]) -> Duplicate:
    names = [matched.get(id(send), "") for send in sends]
    return Duplicate(
        key=key,
        task_ids=tuple(sorted({send.task_id for send in sends})),
        sends=tuple(sends),
        causes=tuple(name for name in names if name and name != SETTLED),
        unexplained=names.count("") + len({send.task_id for send in sends}) - 1,
    )


def explains(fault: Fault, send: Send, conditions: Conditions) -> bool:
    """Whether the fault fell between the end of DATA and the settle of this delivery."""
    if send.end is None or send.data is None:
        return False
    on_its_way = fault.kind is Kind.REDIS_KILL or (fault.kind in _ON_WORKER and fault.process == send.worker)
    if not on_its_way or send.data > fault.start + _may_begin_s(fault, conditions) + SERVED_S:
        return False
    unsettled_from = fault.start - SETTLE_S - (POSTPONED_S if fault.unwritten else 0.0)
    return send.end <= fault.end + SERVED_S and (send.answered or send.end) >= unsettled_from


def _may_begin_s(fault: Fault, conditions: Conditions) -> float:
    """How long after the fault's start its worker may still begin a DATA: never past its own deadline."""
    match fault.kind:
        case Kind.WORKER_STALL:
            return conditions.lease_s
        case Kind.WORKER_KILL | Kind.REDIS_KILL:
            return fault.end - fault.start
        case _:
            return 0.0


def _match(sends: list[Send], record: Record) -> dict[int, str]:
    """Cause by identity of the delivery: as many as possible at once (augmenting paths, Kuhn 1955).

    Of deliveries that could all be put down to a fault, the last of a task counts as the settled one.
    """
    last = {send.task_id: send for send in sends}
    slots = {id(send): _slots(send, record, is_last=last[send.task_id] is send) for send in sends}
    room = {slot: size for of_send in slots.values() for slot, size in of_send.items()}
    held: defaultdict[str, list[int]] = defaultdict(list)

    def place(send: int, tried: set[str]) -> bool:
        for slot in slots[send]:
            if slot in tried:
                continue
            tried.add(slot)
            if len(held[slot]) < room[slot]:
                held[slot].append(send)
                return True
            for other in held[slot]:
                if place(other, tried):
                    held[slot].remove(other)
                    held[slot].append(send)
                    return True
        return False

    for send in sends:
        place(id(send), set())
    return {send: slot.partition(" for ")[0] for slot, of_slot in held.items() for send in of_slot}


def _slots(send: Send, record: Record, *, is_last: bool) -> dict[str, int]:
    """What this delivery may be put down to, most likely first, and how many each of those can bear."""
    if send.fate.startswith(Fate.DROP_AFTER.value):
        return {f"mail_drop on port {send.port} for {send.begin}": 1}
    settled = {f"{SETTLED} for {send.task_id}": 1}
    faults: dict[str, int] = {}
    possible = [fault for fault in record.faults if explains(fault, send, record.conditions)]
    for fault in sorted(possible, key=lambda fault: _LIKELIEST_FIRST.index(fault.kind)):
        room = len(record.sends) if fault.unwritten else record.conditions.concurrency
        faults[f"{fault.kind} of {fault.process} at {fault.start:.3f} for {send.worker}"] = room
    return settled | faults if is_last else faults | settled
