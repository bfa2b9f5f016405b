"""What the model knows: tasks and the places they are in, workers, totals; and what Redis must hold of it."""

from collections import Counter
from dataclasses import dataclass, field

from taskqueue.model import ClaimReply, Extra
from taskqueue.states import TRANSITIONS, Status

from tests.integration.model.keyspace import Keyspace

FINISHED_KEYS = {Status.COMPLETED: "done", Status.FAILED: "dead", Status.CANCELLED: "cancelled"}


@dataclass
class Task:
    """One task. `skips` is how many of its entries in lists are tombstones, which come first."""

    id: str
    type: str
    data: bytes
    created: int
    extra: Extra
    form: int = 2
    status: Status = Status.QUEUED
    epoch: int = 0
    attempts: int = 0
    updated: int | None = None
    result: bytes | None = None
    worker: str | None = None
    kills: int = 0
    skips: int = 0
    asked: str | None = None
    history: list[str] = field(default_factory=list[str])
    progress: bytes | None = None
    alone: int | None = None

    @property
    def level(self) -> int:
        return 1 if self.extra.priority is None else self.extra.priority

    def fields(self) -> dict[str, str]:
        """The hash that Redis must hold."""
        always = {
            "v": self.form,
            "s": self.status,
            "t": self.type,
            "d": self.data.decode(),
            "c": self.created,
        }
        always |= {"e": self.epoch, "a": self.attempts}
        may = {
            "u": self.updated,
            "r": None if self.result is None else self.result.decode(),
            "w": self.worker,
            "p": self.extra.priority,
            "o": self.extra.options,
            "k": self.kills or None,
            "x": self.skips or None,
            "z": self.asked,
            "h": "\n".join(self.history) or None,
            "g": None if self.progress is None else self.progress.decode(),
            "n": self.alone,
        }
        return {k: str(v) for k, v in (always | may).items() if v is not None}


@dataclass
class Record:
    """What Redis keeps of a worker: its last call, to answer it again, and what it tells of itself."""

    sequence: int | None = None
    reply: ClaimReply | None = None
    about: str | None = None

    def fields(self) -> dict[str, str]:
        found: dict[str, str] = {} if self.about is None else {"about": self.about}
        if self.reply is not None:
            found |= {
                "sequence": str(self.sequence),
                "lost": " ".join(self.reply.lost),
                "claimed": " ".join(f"{claim.id} {claim.epoch}" for claim in self.reply.claims),
                "flag": str(int(self.reply.next)),
            }
        return found


@dataclass
class Isolator:
    """The worker that is asked to come with nothing held, until when, and for how long the next one."""

    worker: str
    until: int
    span: int


@dataclass
class World:
    """All of one queue at the time `now` (microseconds, as everywhere here)."""

    now: int
    tasks: dict[str, Task] = field(default_factory=dict[str, Task])
    ready: list[list[str]] = field(default_factory=lambda: [[], [], []])
    suspects: list[str] = field(default_factory=list[str])
    scheduled: dict[str, int] = field(default_factory=dict[str, int])
    running: dict[str, int] = field(default_factory=dict[str, int])
    finished: dict[Status, dict[str, int]] = field(
        default_factory=lambda: {status: {} for status in FINISHED_KEYS}
    )
    cancelling: set[str] = field(default_factory=set[str])
    totals: Counter[str] = field(default_factory=Counter[str])
    tombstones: int = 0
    paused_at: int | None = None
    isolator: Isolator | None = None
    modes: set[str] = field(default_factory=set[str])
    tokens: int = 0
    waiting: dict[str, int] = field(default_factory=dict[str, int])
    workers: dict[str, int] = field(default_factory=dict[str, int])
    records: dict[str, Record] = field(default_factory=dict[str, Record])
    keys: dict[str, tuple[str, str, int]] = field(default_factory=dict[str, tuple[str, str, int]])
    periodic: dict[str, int] = field(default_factory=dict[str, int])
    reaped_at: int | None = None
    seen: set[tuple[Status, Status]] = field(default_factory=set[tuple[Status, Status]])

    def change(self, task: Task, status: Status) -> None:
        """A change of status, which has to be one of the table."""
        assert status in TRANSITIONS[task.status], f"{task.status} -> {status}"
        self.seen.add((task.status, status))
        task.status, task.updated = status, self.now

    def backlog(self) -> int:
        return sum(map(len, self.ready)) + len(self.suspects)

    def keyspace(self) -> Keyspace:
        """Every key that Redis must hold, and no other."""
        counters = {**self.totals, "tombstones": self.tombstones, "reaped_at": self.reaped_at}
        control: dict[str, str] = {} if self.paused_at is None else {"paused": str(self.paused_at)}
        if self.isolator is not None:
            control |= {"isolator": self.isolator.worker}
            control |= {"isolator_until": str(self.isolator.until), "isolator_span": str(self.isolator.span)}
        found: Keyspace = {f"ready:{level}": ids for level, ids in enumerate(self.ready)}
        found |= {f"task:{task.id}": task.fields() for task in self.tasks.values()}
        found |= {f"worker:{name}": record.fields() for name, record in self.records.items()}
        found |= {FINISHED_KEYS[status]: ended for status, ended in self.finished.items()}
        found |= {f"idem:{key}": " ".join(map(str, known)) for key, known in self.keys.items()}
        found |= {
            "suspects": self.suspects,
            "scheduled": self.scheduled,
            "running": self.running,
            "cancelling": self.cancelling,
            "index": dict.fromkeys(self.tasks, 0),
            "counters": {name: str(count) for name, count in counters.items() if count},
            "control": control,
            "modes": dict.fromkeys(self.modes, "at-most-once"),
            "wake": ["1"] * self.tokens,
            "waiting": self.waiting,
            "workers": self.workers,
            "periodic": {name: str(due) for name, due in self.periodic.items()},
        }
        return {key: content for key, content in found.items() if content}
