"""What each call of the queue does to the world, and what it answers: the rules, without Redis."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from taskqueue.model import (
    MICROSECOND,
    Claim,
    ClaimReply,
    Extra,
    NewTask,
    Next,
    Outcome,
    ReapReply,
    Receipt,
    Retention,
)
from taskqueue.queue import AGE_US, FORGET_WORKER_US, REAP_GAP_US
from taskqueue.states import Status

from tests.integration.model.world import FINISHED_KEYS, Isolator, Record, Task, World

ISOLATE_US = 5 * MICROSECOND
CANCELLED = b'{"error":"cancelled"}'
LOST_AT_MOST_ONCE = b'{"error":"its worker was lost, and this type runs at most once"}'
POISON = b'{"error":"its worker was lost %d times while it ran","code":"poison"}'
LOST_LINE = '"its worker did not report in time"'
AGED = 2


@dataclass
class Call:
    """One settle_and_claim under way."""

    worker: str
    want: int
    held_beside: int
    lease_end: int
    claims: list[Claim] = field(default_factory=list[Claim])


class Prediction(World):
    """The world with its rules; a method a call of the queue."""

    # -- enqueue ----------------------------------------------------------------------------

    def enqueue(self, batch: Sequence[NewTask]) -> list[Receipt | None]:
        """Per task its receipt, or None where its idempotency key came with another body."""
        answers = [self._enqueue_one(new, new.extra or Extra()) for new in batch]
        stored = sum(answer is not None and answer.stored for answer in answers)
        if stored:
            self.totals["enqueued"] += stored
            self.wake()
        return answers

    def _enqueue_one(self, new: NewTask, extra: Extra) -> Receipt | None:
        if extra.periodic is not None:
            name, due = extra.periodic
            if self.periodic.get(name, -1) >= due:
                return Receipt(new.id, stored=False)
            self.periodic[name] = due
        if extra.key is not None and extra.body is not None and extra.ttl_us is not None:
            body, made, ends = self.keys.get(extra.key, ("", "", 0))
            if ends > self.now:
                return Receipt(made, stored=False) if body == extra.body else None
            self.keys[extra.key] = (extra.body, new.id, self.now + extra.ttl_us)
        if new.id in self.tasks:
            return Receipt(new.id, stored=False)
        task = self.tasks[new.id] = Task(new.id, new.type, new.data, self.now, extra)
        due = extra.due_us if extra.delay_us is None else self.now + extra.delay_us
        if due is not None and due > self.now:
            task.status = Status.SCHEDULED
            self.scheduled[new.id] = due
        else:
            self.ready[task.level].append(new.id)
        return Receipt(new.id, stored=True)

    def wake(self) -> None:
        """As many tokens as there is work for, and never more than there are waiters."""
        expired = [name for name, until in self.waiting.items() if until <= self.now]
        for name in expired:
            self.stop_waiting(name)
        if self.waiting and self.paused_at is None:
            self.tokens = max(self.tokens, min(len(self.waiting), self.backlog()))

    def stop_waiting(self, worker: str) -> None:
        if self.waiting.pop(worker, None) is not None:
            self.tokens = min(self.tokens, len(self.waiting))

    # -- settle and claim -------------------------------------------------------------------

    def settle_and_claim(
        self,
        worker: str,
        sequence: int,
        outcomes: Sequence[Outcome],
        want: int,
        lease_us: int,
        wait_us: int,
        held_beside: int,
    ) -> ClaimReply:
        record = self.records.setdefault(worker, Record())
        call = Call(worker, want, held_beside, self.now + lease_us)
        if record.reply is not None and record.sequence == sequence:
            return self._repeat(record.reply, call, wait_us)
        lost = [outcome.id for outcome in outcomes if not self._settle(outcome)]
        if lost:
            self.totals["lost_leases"] += len(lost)
        self._promote()
        flag = self._claim(call)
        record.sequence, record.reply = sequence, ClaimReply(lost, call.claims, flag)
        self.workers[worker] = self.now
        if flag is Next.WAIT and want > 0:
            self.waiting[worker] = self.now + wait_us
        else:
            self.stop_waiting(worker)
            self.wake()
        return record.reply

    def _repeat(self, reply: ClaimReply, call: Call, wait_us: int) -> ClaimReply:
        held = [claim for claim in reply.claims if self.holds(claim.id, claim.epoch)]
        for claim in held:
            self.running[claim.id] = call.lease_end
        flag = Next.MORE if reply.next is Next.ALONE and not held else reply.next
        if flag is Next.WAIT and call.want > 0:
            self.waiting[call.worker] = self.now + wait_us
            self.wake()
        return ClaimReply(reply.lost, held, flag)

    def holds(self, task_id: str, epoch: int) -> bool:
        task = self.tasks.get(task_id)
        return task is not None and task.status is Status.PROCESSING and task.epoch == epoch

    def _settle(self, outcome: Outcome) -> bool:
        if not self.holds(outcome.id, outcome.epoch):
            return False
        task = self.tasks[outcome.id]
        asked, status = task.asked, outcome.status
        del self.running[task.id]
        if not outcome.counts and not (status is Status.COMPLETED and asked is None):
            task.attempts -= 1
        if status is not Status.COMPLETED:
            self._note(task, status, outcome.result.decode())
        if asked == "purge" or (asked and status is Status.SCHEDULED):
            self._carry_out(task, outcome.result)
            return True
        self._no_longer_asked(task)
        if status is Status.SCHEDULED:
            self.change(task, status)
            task.result = outcome.result
            self.scheduled[task.id] = self.now + outcome.retry_in_us
            self.totals["retried"] += 1
        else:
            self._finish(task, status, outcome.result)
        return True

    def _claim(self, call: Call) -> Next:
        if self.paused_at is not None:
            return Next.WAIT
        if self.suspects:
            flag = self._isolate(call)
            if flag is not None:
                return flag
        for level in range(3):
            if not self._take_from(self.ready[level], call, call.want):
                return Next.MORE
        return Next.WAIT

    def _isolate(self, call: Call) -> Next | None:
        if call.held_beside == 0 and call.want > 0:
            self._take_from(self.suspects, call, 1)
            if not call.claims:
                return None
            self.tasks[call.claims[0].id].alone = call.claims[0].epoch
            self.isolator = None
            return Next.ALONE
        now, asked = self.now, self.isolator
        mine = asked is not None and asked.worker == call.worker
        if asked is not None and asked.until >= now:
            seen = self.workers.get(asked.worker)
            if mine:
                return Next.DRAIN
            if seen is not None and seen >= now - ISOLATE_US:
                return None
        if asked is not None and mine and now < asked.until + ISOLATE_US:
            return None
        span = ISOLATE_US if asked is None else asked.span
        self.isolator = Isolator(call.worker, now + span, 2 * span)
        return Next.DRAIN

    def _take_from(self, place: list[str], call: Call, want: int) -> bool:
        """Whether the place was found empty before `want` were taken."""
        while len(call.claims) < want:
            if not place:
                return True
            self._take(place.pop(0), call)
        return False

    def _take(self, task_id: str, call: Call) -> None:
        task = self.tasks.get(task_id)
        if task is None or task.status is not Status.QUEUED or task.skips:
            self.tombstones -= 1
            if task is not None and task.skips:
                task.skips -= 1
        elif task.form > 2:
            self.change(task, Status.SCHEDULED)
            self.scheduled[task_id] = self.now + ISOLATE_US
        else:
            self.change(task, Status.PROCESSING)
            task.epoch += 1
            task.attempts += 1
            task.worker = call.worker
            self.running[task_id] = call.lease_end
            options = (task.extra.options or "").encode()
            claim = Claim(task_id, task.epoch, task.type, task.data, task.created, task.attempts, options)
            call.claims.append(claim)

    # -- what other calls share -------------------------------------------------------------

    def _note(self, task: Task, outcome: str, reason: str) -> None:
        words = (task.attempts, task.worker or "", task.updated or "", self.now, outcome, reason)
        task.history = [*task.history, "\t".join(map(str, words))][-20:]

    def _finish(self, task: Task, status: Status, result: bytes) -> None:
        self.change(task, status)
        task.result = result
        self.finished[status][task.id] = self.now
        self.totals[status.value] += 1

    def _no_longer_asked(self, task: Task) -> None:
        task.asked = None
        self.cancelling.discard(task.id)

    def _carry_out(self, task: Task, result: bytes) -> None:
        if task.asked == "purge":
            del self.tasks[task.id]
            self.totals["purged"] += 1
        else:
            self._finish(task, Status.CANCELLED, result)
        self._no_longer_asked(task)

    def _queue(self, task: Task, *, head: bool, alone: bool = False) -> None:
        self.change(task, Status.QUEUED)
        place = self.suspects if alone else self.ready[task.level]
        place.insert(0 if head else len(place), task.id)

    def _promote(self) -> None:
        due = sorted((at, task_id) for task_id, at in self.scheduled.items() if at <= self.now)
        for _, task_id in due[:100]:
            del self.scheduled[task_id]
            self._queue(self.tasks[task_id], head=False)

    def _lose(self, task: Task) -> bool:
        """The end of an attempt whose worker is gone; whether the task may run again."""
        self._note(task, "lost", LOST_LINE)
        if task.asked is not None:
            self._carry_out(task, CANCELLED)
            return False
        if task.type in self.modes:
            self._finish(task, Status.FAILED, LOST_AT_MOST_ONCE)
            return False
        return True

    # -- leases -----------------------------------------------------------------------------

    def renew(self, held: Sequence[tuple[str, int, bytes | None]], lease_us: int) -> list[str]:
        lost: list[str] = []
        for task_id, epoch, progress in held:
            if self.holds(task_id, epoch):
                self.running[task_id] = self.now + lease_us
                self.tasks[task_id].progress = progress or self.tasks[task_id].progress
            else:
                lost.append(task_id)
        return lost

    def release(self, worker: str, held: Sequence[tuple[str, int, bool]], *, leave: bool) -> list[str]:
        lost: list[str] = []
        for task_id, epoch, begun in reversed(held):
            if not self.holds(task_id, epoch):
                lost.insert(0, task_id)
                continue
            task = self.tasks[task_id]
            del self.running[task_id]
            if not begun:
                task.attempts -= 1
            if not begun and task.asked is not None:
                self._carry_out(task, CANCELLED)
            elif not begun or self._lose(task):
                self._queue(task, head=True, alone=task.alone == task.epoch)
        if leave:
            self.stop_waiting(worker)
            self.workers.pop(worker, None)
            self.records.pop(worker, None)
        self.wake()
        return lost

    def reap(self, worker: str, lease_us: int, retention: Retention, poison_kills: int) -> ReapReply:
        if self.reaped_at is not None and self.now - self.reaped_at > REAP_GAP_US:
            for task_id, end in self.running.items():
                self.running[task_id] = max(end, self.now + lease_us)
        self.reaped_at = self.now
        late = [i for end, i in sorted((end, i) for i, end in self.running.items()) if end <= self.now][:100]
        for task_id in reversed(late):
            self._take_back(self.tasks[task_id], poison_kills)
        if late:
            self.totals["reaped"] += len(late)
        self._promote()
        self._age(1, 0, 2 * AGE_US)
        self._age(2, 1, AGE_US)
        if not self.suspects:
            self.isolator = None
        removed = self._retain(retention)
        self._see(worker)
        ends = [*self.running.values(), *self.scheduled.values()]
        next_due = max(0, min(ends) - self.now) if ends else None
        return ReapReply(late, len(late) == 100 or removed >= 100, next_due, sorted(self.cancelling))

    def _take_back(self, task: Task, limit: int) -> None:
        del self.running[task.id]
        if not self._lose(task):
            return
        task.kills += 1
        if limit == 1 or (limit > 0 and task.kills >= limit and task.alone == task.epoch):
            self._finish(task, Status.FAILED, POISON % task.kills)
            self.totals["poisoned"] += 1
        elif limit > 1 and task.kills >= limit - 1:
            self._queue(task, head=False, alone=True)
        else:
            self._queue(task, head=True)

    def _age(self, level: int, to: int, age_us: int) -> None:
        for _ in range(AGED):
            if not self.ready[level]:
                return
            task = self.tasks.get(self.ready[level][0])
            if task is not None and (task.updated or task.created) > self.now - age_us:
                return
            self.ready[to].append(self.ready[level].pop(0))

    def _retain(self, retention: Retention) -> int:
        removed = 0
        for status, ended in self.finished.items():
            kept = getattr(retention, status.value)
            oldest = sorted(ended, key=lambda i: (ended[i], i))
            gone = [i for i in oldest if ended[i] < self.now - kept.age_us][:100]
            left = oldest[len(gone) :]
            if kept.count and len(left) > kept.count:
                gone += left[: min(100, len(left) - kept.count)]
            for task_id in gone:
                del ended[task_id], self.tasks[task_id]
            removed += len(gone)
        return removed

    def _see(self, worker: str) -> None:
        self.workers[worker] = self.now
        self.records.setdefault(worker, Record()).about = "{}"
        for name in [n for n, at in self.workers.items() if at <= self.now - FORGET_WORKER_US]:
            del self.workers[name]
            del self.records[name]
            self.stop_waiting(name)
        self.wake()

    # -- what operators do ------------------------------------------------------------------

    def cancel(self, ids: Sequence[str]) -> list[str]:
        return [self._cancel(self.tasks.get(task_id)) for task_id in ids]

    def _cancel(self, task: Task | None) -> str:
        if task is None:
            return ""
        if task.status is Status.PROCESSING:
            task.asked = task.asked or "cancel"
            self.cancelling.add(task.id)
            return "cancelling"
        if task.status is Status.QUEUED:
            task.skips += 1
            self.tombstones += 1
        elif task.status is Status.SCHEDULED:
            del self.scheduled[task.id]
        else:
            return task.status.value
        self._finish(task, Status.CANCELLED, CANCELLED)
        return "cancelled"

    def purge(self, ids: Sequence[str]) -> list[str]:
        return [self._purge(self.tasks.get(task_id)) for task_id in ids]

    def _purge(self, task: Task | None) -> str:
        if task is None:
            return ""
        if task.status is Status.PROCESSING:
            task.asked = "purge"
            self.cancelling.add(task.id)
            return "purging"
        if task.status is Status.QUEUED:
            self.tombstones += 1
        elif task.status in FINISHED_KEYS:
            del self.finished[task.status][task.id]
        else:
            del self.scheduled[task.id]
        del self.tasks[task.id]
        self.totals["purged"] += 1
        return "purged"

    def redrive(self, ids: Sequence[str]) -> list[str]:
        answers = [self._redrive(self.tasks.get(task_id)) for task_id in ids]
        self.wake()
        return answers

    def _redrive(self, task: Task | None) -> str:
        if task is None:
            return ""
        if task.status in (Status.FAILED, Status.CANCELLED):
            del self.finished[task.status][task.id]
            task.kills, task.attempts = 0, 0
            task.result = task.progress = task.alone = None
            self._queue(task, head=False)
            self.totals["redriven"] += 1
        return task.status.value

    def pause(self) -> bool:
        changed = self.paused_at is None
        self.paused_at = self.now if changed else self.paused_at
        return changed

    def resume(self) -> bool:
        changed = self.paused_at is not None
        self.paused_at = None
        self.wake()
        return changed
