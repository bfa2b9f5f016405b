"""The account of a run: a pure function from what was recorded to what became of each e-mail."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from loadtest.chaos import causes, recovery
from loadtest.chaos.causes import Duplicate
from loadtest.chaos.record import Final, Outcome, Record, Send

POISONED_AFTER = 3
"""Deaths of its worker after which a task is given up as poisonous."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Ids (or, where no client saw one, keys of recipients) by what became of them."""

    accepted: int
    delivered: int
    deliveries: int
    unknown: int
    unknown_delivered: int
    refused: int
    refused_delivered: tuple[str, ...]
    lost: tuple[str, ...]
    lost_unwritten: tuple[str, ...]
    failed: tuple[str, ...]
    failed_unexplained: tuple[str, ...]
    poisoned: dict[str, int]
    unsettled: tuple[str, ...]
    strangers: tuple[str, ...]
    duplicated: tuple[Duplicate, ...]
    recovery_s_max: float
    recovery_overdue: int
    accidents: tuple[str, ...]

    @property
    def duplicated_unexplained(self) -> tuple[Duplicate, ...]:
        return tuple(d for d in self.duplicated if d.unexplained)

    @property
    def verdicts(self) -> dict[str, bool]:
        """Each thing that has to hold, and whether it does."""
        return {
            "something was accepted and delivered": self.accepted > 0 and self.delivered > 0,
            "nothing accepted was lost": not self.lost,
            "nothing was delivered twice without a cause": not self.duplicated_unexplained,
            "nothing failed but by the mail server's own 5xx": not self.failed_unexplained,
            "every delivered task is completed": not self.unsettled,
            "no task is there that nobody posted": not self.strangers,
            "killed workers' tasks were taken up in time": not self.recovery_overdue,
            "no process ended but by a fault": not self.accidents,
        }  # fmt: skip

    @property
    def passed(self) -> bool:
        return all(self.verdicts.values())


def account(record: Record) -> Account:
    """What became of every POST, by the recipients' keys, which no two POSTs share."""
    sends: defaultdict[str, list[Send]] = defaultdict(list)
    for send in record.sends:
        sends[send.key].append(send)
    taken = {key for key, of_key in sends.items() if any(send.taken for send in of_key)}
    finals = {final.key: final for final in record.finals}
    accepted = {post.key: post.task_id for post in record.posts if post.outcome is Outcome.ACCEPTED}
    unknown = {post.key for post in record.posts if post.outcome is Outcome.UNKNOWN}
    refused = {post.key for post in record.posts if post.outcome is Outcome.REFUSED}
    failed, poisoned, unexplained = _failed(record, sends)
    missing = accepted.keys() - taken - failed - poisoned.keys() - unexplained
    recoveries = list(recovery.recoveries(record))
    unwritten = _unwritten(record, accepted, missing)
    return Account(
        accepted=len(accepted),
        delivered=len(accepted.keys() & taken),
        deliveries=sum(send.taken for send in record.sends),
        unknown=len(unknown),
        unknown_delivered=len(unknown & taken),
        refused=len(refused),
        refused_delivered=tuple(sorted(refused & taken)),
        lost=tuple(sorted(accepted[key] for key in missing - unwritten)),
        lost_unwritten=tuple(sorted(accepted[key] for key in unwritten)),
        failed=tuple(sorted(failed)),
        failed_unexplained=tuple(sorted(unexplained)),
        poisoned=poisoned,
        unsettled=_unsettled(record, accepted, taken, finals),
        strangers=tuple(sorted(taken.union(finals) - accepted.keys() - unknown - refused)),
        duplicated=causes.duplicates(record),
        recovery_s_max=max((took_s for _, took_s in recoveries), default=0.0),
        recovery_overdue=recovery.overdue(recoveries, record),
        accidents=record.accidents,
    )


def _unsettled(
    record: Record, accepted: dict[str, str], taken: set[str], finals: dict[str, Final]
) -> tuple[str, ...]:
    """Delivered ones that are not completed, or that are gone although Redis had written them."""
    open_still = {f.task_id for f in finals.values() if f.key in taken and f.status != "completed"}
    gone = {accepted[key] for key in accepted.keys() & taken - finals.keys()}
    return tuple(sorted(open_still | gone - record.unwritten))


def _failed(record: Record, sends: dict[str, list[Send]]) -> tuple[set[str], dict[str, int], set[str]]:
    """Keys of dead letters: by the server's own 5xx; given up as poison (with deaths); neither."""
    refused: set[str] = set()
    poisoned: dict[str, int] = {}
    neither: set[str] = set()
    for final in record.finals:
        if final.status != "failed":
            continue
        of_key = sends.get(final.key, [])
        if any(send.code >= 500 for send in of_key):
            refused.add(final.key)
        elif (deaths := recovery.deaths(record, of_key)) >= POISONED_AFTER:
            poisoned[final.key] = deaths
        else:
            neither.add(final.key)
    return refused, poisoned, neither


def _unwritten(record: Record, accepted: dict[str, str], missing: Iterable[str]) -> set[str]:
    """Missing ones that Redis had answered for but not yet written when it was killed.

    Only with everysec: while an fsync is under way Redis puts off its next write, up to 2 s.
    """
    if record.conditions.appendfsync == "always":
        return set()
    return {key for key in missing if accepted[key] in record.unwritten}
