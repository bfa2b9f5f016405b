"""How long a killed worker's tasks wait to be taken up again, by what the mail server saw."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from loadtest.chaos.record import Fault, Kind, Record, Send

SLACK_S = 5.0
"""A reap tick (1 s), the settling of those before in the queue, and two busy cores."""
_DEATHS = (Kind.WORKER_KILL, Kind.WORKER_FREEZE)
"""To the queue a worker that is frozen past its lease is as dead as a killed one."""


def was_open(send: Send, at: float) -> bool:
    """Whether the transaction had begun at this time, and was neither answered nor dropped."""
    return send.begin <= at < send.closed


def recoveries(record: Record) -> Iterator[tuple[Fault, float]]:
    """Kill and seconds, for each task whose transaction was open at the kill: until its next one began.

    What a worker held without a transaction cannot be seen from here; with a connection for each
    place there is next to none. A task that never came again is not in here: it counts as lost,
    or had been settled.
    """
    by_worker: defaultdict[str, list[Send]] = defaultdict(list)
    by_key: defaultdict[str, list[Send]] = defaultdict(list)
    for send in record.sends:
        by_worker[send.worker].append(send)
        by_key[send.key].append(send)
    for fault in record.faults:
        if fault.kind is not Kind.WORKER_KILL:
            continue
        for send in by_worker[fault.process]:
            if send.key and was_open(send, fault.start):  # without a recipient it is nobody's yet
                later = [s.begin for s in by_key[send.key] if s.begin > fault.start and s is not send]
                if later:
                    yield fault, min(later) - fault.start


def limit_s(kill: Fault, record: Record) -> float:
    """The longest that a recovery from this kill may take: what is left of a lease, and slack.

    Each time that Redis is away before the lease is over gives it in full once more (the gap).
    """
    lease_s = record.conditions.lease_s
    due = kill.start + lease_s
    for fault in sorted(record.faults, key=lambda fault: fault.start):
        if fault.kind is Kind.REDIS_KILL and fault.start < due + SLACK_S and fault.end > kill.start:
            due = max(due, fault.end + lease_s)
    return due - kill.start + SLACK_S


def overdue(recoveries: Iterable[tuple[Fault, float]], record: Record) -> int:
    """How many recoveries took longer than they may."""
    return sum(took_s > limit_s(kill, record) for kill, took_s in recoveries)


def deaths(record: Record, sends: Iterable[Send]) -> int:
    """How often a worker was killed, or frozen past its lease, while it had one of these under way."""
    return sum(any(_hit(fault, send) for fault in record.faults if fault.kind in _DEATHS) for send in sends)


def _hit(fault: Fault, send: Send) -> bool:
    return fault.process == send.worker and was_open(send, fault.start)
