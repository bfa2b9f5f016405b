"""What renew, release and reap do and answer: leases, what lapses, what is old."""

from collections.abc import Sequence

from taskqueue.model import ReapReply, Retention
from taskqueue.queue import AGE_US, FORGET_WORKER_US, REAP_GAP_US
from taskqueue.states import Status

from tests.integration.model.moves import CANCELLED, Moves
from tests.integration.model.world import Record, Task

POISON = b'{"error":"its worker was lost %d times while it ran","code":"poison"}'
AGED = 2


class Keeping(Moves):
    """The calls that keep leases and the house."""

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
                self.carry_out(task, CANCELLED)
            elif not begun or self.lose(task):
                self.put_in_queue(task, head=True, alone=task.alone == task.epoch)
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
        self.promote()
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
        if not self.lose(task):
            return
        task.kills += 1
        if limit == 1 or (limit > 0 and task.kills >= limit and task.alone == task.epoch):
            self.finish(task, Status.FAILED, POISON % task.kills)
            self.totals["poisoned"] += 1
        elif limit > 1 and task.kills >= limit - 1:
            self.put_in_queue(task, head=False, alone=True)
        else:
            self.put_in_queue(task, head=True)

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
