"""What happened in a run, as values. Every time is seconds since 1970 on the one machine's clock."""

from enum import StrEnum
from pathlib import Path

import msgspec

DOMAIN = "chaos.example.com"
"""Belongs to nobody (RFC 2606)."""


class Kind(StrEnum):
    """The faults that a run injects. The mail server's own failures are not among them: see `fates`."""

    WORKER_KILL = "worker_kill"
    WORKER_TERM = "worker_term"
    WORKER_FREEZE = "worker_freeze"
    WORKER_CUT = "worker_cut"
    WORKER_STALL = "worker_stall"
    API_KILL = "api_kill"
    API_CUT = "api_cut"
    API_STALL = "api_stall"
    REDIS_KILL = "redis_kill"
    ROLLING_UPDATE = "rolling_update"  # on a cluster only


class Outcome(StrEnum):
    """What a client knows of its POST: an answer that was never seen leaves it unknown."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNSENT = "unsent"
    UNKNOWN = "unknown"


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """One POST. `key` is the local part of its recipient, used for no other POST."""

    key: str
    began: float
    ended: float
    outcome: Outcome
    status: int = 0
    task_id: str = ""


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """One mail transaction as the mail server saw it; a time is None for what never happened.

    `worker` is the incarnation (`w0.3`: the fourth process at place 0) by its sender address, `code`
    the last answer that was written, `closed` when it was answered or its connection went, `taken`
    whether the server keeps the mail.
    """

    key: str
    worker: str
    port: int
    begin: float
    closed: float = 0.0
    data: float | None = None
    end: float | None = None
    answered: float | None = None
    code: int = 0
    taken: bool = False
    fate: str = ""
    task_id: str = ""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that was injected; `process` is the incarnation hit, `end` when its cause was over.

    `unwritten`: accepted tasks that a killed Redis had answered for and not written to its AOF.
    """

    kind: Kind
    process: str
    start: float
    end: float
    unwritten: int = 0


class Final(msgspec.Struct, frozen=True, kw_only=True):
    """A task as the API lists it in the end."""

    task_id: str
    key: str
    status: str
    error: str = ""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What the verdict has to know of how the run was set up."""

    appendfsync: str
    lease_s: float
    concurrency: int
    seed: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """All that the verdict is made from. `unwritten`: accepted ids that Redis had not written when killed."""

    conditions: Conditions
    posts: tuple[Post, ...]
    sends: tuple[Send, ...]
    faults: tuple[Fault, ...]
    finals: tuple[Final, ...]
    unwritten: frozenset[str] = frozenset()
    accidents: tuple[str, ...] = ()


def read_sends(ledger: Path) -> tuple[Send, ...]:
    """The mail server's ledger, in the order in which the transactions ended."""
    decoder = msgspec.json.Decoder(Send)
    return tuple(decoder.decode(line) for line in ledger.read_bytes().splitlines())
