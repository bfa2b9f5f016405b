"""The account of a chaos run: a good one passes, and whatever goes wrong is seen and not explained away."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from loadtest.chaos import report
from loadtest.chaos.accounting import Account, account
from loadtest.chaos.record import Conditions, Fault, Final, Kind, Outcome, Post, Record, Send

LEASE_S = 10.0
PLACES = 2
"""Tasks that a worker runs at a time."""
KILLED = 100.0


def post(key: str, outcome: Outcome = Outcome.ACCEPTED, status: int = 201) -> Post:
    task_id = f"id-{key}" if outcome is Outcome.ACCEPTED else ""
    return Post(key=key, began=90.0, ended=90.1, outcome=outcome, status=status, task_id=task_id)


def send(key: str, at: float, worker: str = "w0.0", *, answered: bool = True, **fields: object) -> Send:
    """A mail that was taken, 0.2 s after it began; not `answered`: its connection went 0.5 s later."""
    done = Send(
        key=key, worker=worker, port=1, begin=at, data=at + 0.1, end=at + 0.2, fate="taken",
        task_id=f"id-{key}", closed=at + (0.2 if answered else 0.7), taken=True,
        answered=at + 0.2 if answered else None, code=250 if answered else 0,
    )  # fmt: skip
    return replace(done, **fields)


def refused(key: str, at: float, code: int) -> Send:
    return send(key, at, taken=False, code=code, fate="reject_data" if code >= 500 else "defer_data")


def final(key: str, status: str = "completed", error: str = "") -> Final:
    return Final(task_id=f"id-{key}", key=key, status=status, error=error)


def fault(kind: Kind, start: float = KILLED, end: float | None = None, process: str = "w0.0") -> Fault:
    return Fault(kind=kind, process=process, start=start, end=start if end is None else end)


def record(*sends: Send, faults: tuple[Fault, ...] = (), appendfsync: str = "always") -> Record:
    """Two e-mails, `a` and `b`; `b` was delivered without trouble, and `a` as the sends say."""
    return Record(
        conditions=Conditions(appendfsync=appendfsync, lease_s=LEASE_S, concurrency=PLACES, seed=1),
        posts=(post("a"), post("b")), sends=(*sends, send("b", 91.0)), faults=faults,
        finals=(final("a"), final("b")),
    )  # fmt: skip


def judged(*sends: Send, faults: tuple[Fault, ...] = ()) -> Account:
    return account(record(*sends, faults=faults))


def causes(found: Account) -> list[tuple[str, ...]]:
    return [tuple(cause.split(" ")[0] for cause in d.causes) for d in found.duplicated]


def test_each_accepted_and_delivered_once_passes() -> None:
    found = judged(send("a", 95.0))
    assert found.passed
    assert (found.accepted, found.delivered, found.deliveries) == (2, 2, 2)


FAILURES: dict[str, tuple[Callable[[], Record], str]] = {
    "lost": (lambda: record(), "nothing accepted was lost"),
    "completed and never sent": (lambda: record(refused("a", 95, 451)), "nothing accepted was lost"),
    "twice for nothing": (
        lambda: record(send("a", 95), send("a", 96)), "nothing was delivered twice without a cause",
    ),
    "failed with 4xx": (
        lambda: replace(record(refused("a", 95, 451)), finals=(final("a", "failed"), final("b"))),
        "nothing failed but by the mail server's own 5xx",
    ),
    "still processing": (
        lambda: replace(record(send("a", 95)), finals=(final("a", "processing"), final("b"))),
        "every delivered task is completed",
    ),
    "delivered and forgotten": (
        lambda: replace(record(send("a", 95)), finals=(final("b"),)), "every delivered task is completed",
    ),
    "a stranger": (
        lambda: replace(record(send("a", 95), send("c", 95)), finals=(final("a"), final("b"), final("c"))),
        "no task is there that nobody posted",
    ),
    "a crash": (
        lambda: replace(record(send("a", 95)), accidents=("w1.0 ended by itself",)),
        "no process ended but by a fault",
    ),
    "a slow recovery": (
        lambda: record(
            send("a", 99.9, taken=False, end=None, answered=False), send("a", 140.0, "w1.0"),
            faults=(fault(Kind.WORKER_KILL),),
        ),
        "killed workers' tasks were taken up in time",
    ),
    "nothing at all": (
        lambda: replace(record(), posts=(), sends=(), finals=()), "something was accepted and delivered",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_fails_its_verdict(name: str) -> None:
    made, verdict = FAILURES[name]
    found = account(made())
    assert not found.passed
    assert found.verdicts[verdict] is False


def test_every_verdict_has_a_failure_that_fails_it() -> None:
    assert {verdict for _, verdict in FAILURES.values()} == set(judged(send("a", 95)).verdicts)


def test_a_task_that_the_mail_server_refused_for_good_is_no_loss() -> None:
    rejected = replace(record(refused("a", 95, 554)), finals=(final("a", "failed", "554 no"), final("b")))
    found = account(rejected)
    assert found.passed
    assert found.failed == ("a",)


def test_an_answer_that_was_never_seen_is_unknown_whatever_became_of_it() -> None:
    posts = (post("a"), post("b"), post("c", Outcome.UNKNOWN, 0), post("d", Outcome.UNKNOWN, 0))
    found = account(
        replace(record(send("a", 95), send("c", 95)), posts=posts, finals=tuple(map(final, "abc")))
    )
    assert found.passed
    assert (found.accepted, found.unknown, found.unknown_delivered) == (2, 2, 1)


EXPLAINED: dict[str, tuple[Fault, Send]] = {
    "killed before the settle": (fault(Kind.WORKER_KILL), send("a", 99.7)),
    "killed before the answer": (fault(Kind.WORKER_KILL), send("a", 99.5, answered=False)),
    "frozen before the answer": (fault(Kind.WORKER_FREEZE, end=112.0), send("a", 99.7)),
    "stalled": (fault(Kind.WORKER_STALL, end=111.0), send("a", 101.0)),
    "cut off": (fault(Kind.WORKER_CUT), send("a", 99.7)),
    "Redis killed": (fault(Kind.REDIS_KILL, end=101.5, process="redis.0"), send("a", 99.7)),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_fault_between_the_end_of_data_and_the_settle_explains_one_delivery_more(name: str) -> None:
    cause, first = EXPLAINED[name]
    found = judged(first, send("a", 115.0, "w1.0"), faults=(cause,))
    assert causes(found) == [(cause.kind.value,)]
    assert not found.duplicated_unexplained


UNEXPLAINED: dict[str, tuple[Fault, Send]] = {
    "killed long after the settle": (fault(Kind.WORKER_KILL), send("a", 95.0)),
    "killed before it began": (fault(Kind.WORKER_KILL), send("a", 103.0)),
    "another worker killed": (fault(Kind.WORKER_KILL, process="w2.0"), send("a", 99.7)),
    "an earlier process there killed": (fault(Kind.WORKER_KILL, process="w0.7"), send("a", 99.7)),
    "DATA begun after the thaw": (fault(Kind.WORKER_FREEZE, end=112.0), send("a", 112.1)),
    "DATA begun after the lease, stalled": (fault(Kind.WORKER_STALL, end=113.0), send("a", 112.0)),
    "stopped in good order": (fault(Kind.WORKER_TERM), send("a", 99.7)),
    "an API killed": (fault(Kind.API_KILL, process="a0.0"), send("a", 99.7)),
    "Redis killed later": (fault(Kind.REDIS_KILL, start=110, end=111, process="redis.0"), send("a", 99.7)),
}


@pytest.mark.parametrize("name", UNEXPLAINED)
def test_a_fault_elsewhere_or_at_another_time_explains_nothing(name: str) -> None:
    cause, first = UNEXPLAINED[name]
    found = judged(first, send("a", 120.0, "w1.0"), faults=(cause,))
    assert [d.key for d in found.duplicated_unexplained] == ["a"]


def test_a_mail_that_the_server_took_and_dropped_explains_itself_once() -> None:
    dropped = send("a", 95.0, answered=False, fate="drop_after")
    assert causes(judged(dropped, send("a", 97.0))) == [("mail_drop",)]
    assert judged(dropped, send("a", 97.0), send("a", 99.0)).duplicated_unexplained


def test_one_kill_explains_no_more_deliveries_than_its_worker_had_places() -> None:
    keys = [f"k{n}" for n in range(PLACES + 1)]
    sends = [s for key in keys for s in (send(key, 99.7), send(key, 115.0, "w1.0"))]
    found = account(
        replace(
            record(send("a", 95.0), *sends, faults=(fault(Kind.WORKER_KILL),)),
            posts=(post("a"), post("b"), *map(post, keys)),
            finals=(final("a"), final("b"), *map(final, keys)),
        )
    )
    assert len(found.duplicated) == PLACES + 1
    assert len(found.duplicated_unexplained) == 1


def test_deliveries_with_a_choice_leave_the_only_cause_to_those_without() -> None:
    first = [send("a", 99.0), send("c", 99.7), send("d", 99.7)]
    again = [send(s.key, 130.0, "w1.0") for s in first]
    faults = (fault(Kind.WORKER_KILL), fault(Kind.REDIS_KILL, 98.0, 98.5, "redis.0"))
    posts, finals = (map(make, "abcd") for make in (post, final))
    found = account(replace(record(*first, *again, faults=faults), posts=tuple(posts), finals=tuple(finals)))
    assert len(found.duplicated) == 3
    assert not found.duplicated_unexplained


def test_two_tasks_made_of_one_post_are_never_explained() -> None:
    other = send("a", 99.7, task_id="id-other")
    assert judged(other, send("a", 115.0, "w1.0"), faults=(fault(Kind.WORKER_KILL),)).duplicated_unexplained


def test_with_everysec_what_a_killed_redis_had_not_written_is_told_apart_from_a_loss() -> None:
    gone = replace(record(appendfsync="everysec"), unwritten=frozenset({"id-a"}), finals=(final("b"),))
    assert (account(gone).lost, account(gone).lost_unwritten) == ((), ("id-a",))
    always = replace(gone, conditions=replace(gone.conditions, appendfsync="always"))
    assert account(always).lost == ("id-a",)


def test_a_settle_that_a_killed_redis_had_not_written_may_come_again() -> None:
    kill = replace(fault(Kind.REDIS_KILL, end=101.0, process="redis.0"), unwritten=4)
    assert not judged(send("a", 96.5), send("a", 115.0, "w1.0"), faults=(kill,)).duplicated_unexplained


def deadly(kills: int) -> Record:
    """`a` was under way in so many workers that were killed, and was then given up."""
    held = [send("a", 100.0 + n, f"w{n}.0", taken=False, end=None, answered=False) for n in range(kills)]
    faults = [fault(Kind.WORKER_KILL, 100.5 + n, process=f"w{n}.0") for n in range(kills)]
    return replace(record(*held, faults=tuple(faults)), finals=(final("a", "failed", "poison"), final("b")))


def test_a_task_given_up_as_poison_needs_three_deaths_on_record() -> None:
    assert account(deadly(3)).poisoned == {"a": 3}
    assert account(deadly(3)).passed
    assert account(deadly(2)).failed_unexplained == ("a",)


def test_recovery_is_the_time_until_every_open_mail_of_a_killed_worker_was_begun_again() -> None:
    held = send("a", 99.9, taken=False, end=None, answered=False)
    found = judged(held, send("a", 108.0, "w1.0"), faults=(fault(Kind.WORKER_KILL),))
    assert found.recovery_s_max == pytest.approx(8.0)
    settled = judged(send("a", 95.0), faults=(fault(Kind.WORKER_KILL),))
    assert settled.recovery_s_max == 0.0


@pytest.mark.parametrize(
    ("away", "took_s", "overdue"),
    [
        ((), 14.9, 0),
        ((), 15.1, 1),
        (((102, 106),), 20.9, 0),  # given a full lease at 106
        (((102, 106), (112, 118)), 32.9, 0),  # and again at 118
        (((102, 106), (112, 118)), 33.1, 1),
        (((90, 95),), 15.1, 1),  # Redis was back before the kill
    ],
)
def test_a_recovery_may_take_a_lease_and_one_more_for_each_time_that_redis_was_away(
    away: tuple[tuple[int, int], ...], took_s: float, overdue: int
) -> None:
    held = send("a", 99.9, taken=False, end=None, answered=False)
    redis = [fault(Kind.REDIS_KILL, start, end, "redis.0") for start, end in away]
    found = judged(held, send("a", KILLED + took_s, "w1.0"), faults=(fault(Kind.WORKER_KILL), *redis))
    assert found.recovery_overdue == overdue


def test_a_failure_is_told_with_its_task_and_what_happened_around_it() -> None:
    made = record(send("a", 99.7), send("a", 120.0, "w1.0"), faults=(fault(Kind.WORKER_CUT, 101.9),))
    story = "\n".join(report.failures(made, account(replace(made, faults=()))))
    assert "delivered twice without a cause: 1" in story
    assert (
        story.index("POST accepted 201 id-a") < story.index("MAIL by w0.0") < story.index("FAULT worker_cut")
    )
