"""How long a killed worker's tasks wait to be taken up again, by what the mail server saw."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from loadtest.chaos.record import Fault, Kind, Record, Send

GAP_S = 2.0
"""After a pause in the reaping this long every holder is given a full lease once more."""
SLACK_S = 5.0
"""A reap tick (1 s), the settling of those before in the queue, and two busy cores."""
_DEATHS = (Kind.WORKER_KILL, Kind.WORKER_FREEZE)
"""To the queue a worker that is frozen past its lease is as dead as a killed one."""


def was_open(send: Send, at: float) -> bool:
    """Whether the transaction had begun at this time, and was neither answered nor dropped."""
    return send.begin <= at < send.closed


def seconds(record: Record) -> Iterator[float]:
    """For each task whose transaction was open when its worker was killed: until the next one began.

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
                    yield min(later) - fault.start


def limit_s(record: Record) -> float:
    """A lease, one more where Redis was away meanwhile (a gap), the longest time that it was away, slack."""
    away = [fault.end - fault.start for fault in record.faults if fault.kind is Kind.REDIS_KILL]
    lease_s = record.conditions.lease_s
    return lease_s + SLACK_S + (lease_s + GAP_S + max(away) if away else 0.0)


def deaths(record: Record, sends: Iterable[Send]) -> int:
    """How often a worker was killed, or frozen past its lease, while it had one of these under way."""
    return sum(any(_hit(fault, send) for fault in record.faults if fault.kind in _DEATHS) for send in sends)


def _hit(fault: Fault, send: Send) -> bool:
    return fault.process == send.worker and was_open(send, fault.start)
