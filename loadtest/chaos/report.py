"""result.json and what is printed: the figures of each run, and of each failure what happened around it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtest.chaos.accounting import Account
from loadtest.chaos.power_loss import PowerLoss
from loadtest.chaos.record import Kind, Record, Send

RESULT = "result.json"
SHOWN = 5
AROUND_S = 3.0
_SUMMED = (
    "accepted", "delivered", "lost", "lost_unwritten", "unknown", "unknown_delivered", "refused",
    "refused_delivered", "duplicated", "duplicated_unexplained", "failed", "failed_unexplained", "poisoned",
)  # fmt: skip

_PRINTED = (
    "accepted", "delivered", "lost", "lost_unwritten", "unknown", "failed", "poisoned", "duplicated",
    "duplicated_unexplained", "duplicate_causes", "recovery_s_max", "faults", "mail_faults",
)  # fmt: skip


def figures(record: Record, account: Account) -> dict[str, Any]:
    """One run as JSON."""
    causes = Counter(cause.split(" ")[0] for d in account.duplicated for cause in d.causes)
    return {
        "passed": account.passed,
        "appendfsync": record.conditions.appendfsync,
        "accepted": account.accepted,
        "delivered": account.delivered,
        "deliveries": account.deliveries,
        "lost": len(account.lost),
        "lost_unwritten": len(account.lost_unwritten),
        "unknown": account.unknown,
        "unknown_delivered": account.unknown_delivered,
        "refused": account.refused,
        "refused_delivered": len(account.refused_delivered),
        "duplicated": len(account.duplicated),
        "duplicated_unexplained": len(account.duplicated_unexplained),
        "duplicate_causes": dict(sorted(causes.items())),
        "failed": len(account.failed),
        "failed_unexplained": len(account.failed_unexplained),
        "poisoned": len(account.poisoned),
        "poisoned_deaths": account.poisoned,
        "recovery_s_max": round(account.recovery_s_max, 3),
        "recovery_overdue": account.recovery_overdue,
        "faults": dict(sorted(Counter(fault.kind.value for fault in record.faults).items())),
        "mail_faults": dict(
            sorted(Counter(s.fate for s in record.sends if s.fate not in ("", "taken")).items())
        ),
        "verdicts": account.verdicts,
        "accidents": list(account.accidents),
    }


def result(seed: int, runs: Mapping[str, dict[str, Any]], losses: Sequence[PowerLoss]) -> dict[str, Any]:
    """All runs in one: sums, the worst, and each by itself."""
    faults: Counter[str] = Counter()
    for run in runs.values():
        faults.update(run["faults"])
    return {
        "passed": all(run["passed"] for run in runs.values()) and all(loss.passed for loss in losses),
        "seed": seed,
        **{name: sum(run[name] for run in runs.values()) for name in _SUMMED},
        "recovery_s_max": max((run["recovery_s_max"] for run in runs.values()), default=0.0),
        "faults": dict(sorted(faults.items())),
        "runs": dict(runs),
        "power_loss": {loss.appendfsync: _loss_figures(loss) for loss in losses},
    }


def _loss_figures(loss: PowerLoss) -> dict[str, Any]:
    return {
        "passed": loss.passed,
        "accepted": loss.accepted,
        "lost": loss.lost,
        "oldest_lost_s": round(loss.oldest_lost_s, 3),
        "rounds": [
            {"accepted": r.accepted, "lost": r.lost, "oldest_lost_s": round(r.oldest_lost_s, 3)}
            for r in loss.rounds
        ],
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    """Writes result.json in one step."""
    path = folder / RESULT
    waiting = path.with_suffix(".tmp")
    waiting.write_text(json.dumps(content, indent=2) + "\n")
    return waiting.replace(path)


def show(run: Mapping[str, Any], stories: Sequence[str], folder: Path) -> None:
    """Prints the figures of a run, its verdicts and what happened around each failure (failures.txt too)."""
    for name in _PRINTED:
        print(f"  {name}: {run[name]}")
    for verdict, holds in run["verdicts"].items():
        print(f"  {'ok  ' if holds else 'FAIL'} {verdict}")
    (folder / "failures.txt").write_text("".join(f"{line}\n" for line in stories))
    print("".join(f"  {line}\n" for line in stories), end="", flush=True)


def failures(record: Record, account: Account) -> list[str]:
    """For each thing that did not hold, its first few tasks with all that happened to them."""
    wrong: dict[str, Sequence[str]] = {
        "lost": account.lost,
        "delivered twice without a cause": [d.key for d in account.duplicated_unexplained],
        "failed without a 5xx": account.failed_unexplained,
        "delivered and not completed": account.unsettled,
        "posted by nobody": account.strangers,
    }
    ids = {post.task_id: post.key for post in record.posts if post.task_id}
    ids |= {final.task_id: final.key for final in record.finals}
    lines: list[str] = []
    for what, names in wrong.items():
        if names:
            lines.append(f"{what}: {len(names)}" + (f", the first {SHOWN}:" if len(names) > SHOWN else ":"))
        for name in names[:SHOWN]:
            lines += _story(record, ids.get(name, name))
    return lines


def _story(record: Record, key: str) -> list[str]:
    """What happened to one recipient's task, in order, with the faults near it."""
    happened: list[tuple[float, str]] = [
        (post.ended, f"POST {post.outcome} {post.status} {post.task_id}")
        for post in record.posts
        if post.key == key
    ]
    sends = [send for send in record.sends if send.key == key]
    happened += [(send.begin, _told(send)) for send in sends]
    workers = {send.worker for send in sends}
    for fault in record.faults:
        near = any(fault.start - AROUND_S < at < fault.end + AROUND_S for at, _ in happened)
        if near and (fault.process in workers or fault.kind is Kind.REDIS_KILL):
            happened.append(
                (fault.start, f"FAULT {fault.kind} of {fault.process}, {fault.end - fault.start:.2f} s")
            )
    final = next((f"{f.status} {f.error}" for f in record.finals if f.key == key), "not listed")
    return [f"  {key}: in the end {final}", *(f"    {at:.3f} {words}" for at, words in sorted(happened))]


def _told(send: Send) -> str:
    end = "no end of DATA" if send.end is None else f"end of DATA +{send.end - send.begin:.3f}"
    answer = "no answer" if send.answered is None else f"{send.code} +{send.answered - send.begin:.3f}"
    taken = "taken" if send.taken else "not taken"
    return f"MAIL by {send.worker} ({send.fate or 'no recipient'}): {end}, {answer}, {taken} {send.task_id}"
