"""What each call of the queue does to the world, and what it answers: the rules, without Redis."""

from collections.abc import Sequence

from taskqueue.model import Extra, NewTask, Receipt
from taskqueue.states import Status

from tests.integration.model.claiming import Claiming
from tests.integration.model.keeping import Keeping
from tests.integration.model.moves import CANCELLED
from tests.integration.model.world import FINISHED_KEYS, Task


class Prediction(Claiming, Keeping):
    """The world with all its rules; a method a call of the queue."""

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
        self.finish(task, Status.CANCELLED, CANCELLED)
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
            self.put_in_queue(task, head=False)
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
