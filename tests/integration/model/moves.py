"""The moves that several calls make: into a list, to an end, off a worker that is gone, awake."""

from taskqueue.states import Status

from tests.integration.model.world import Task, World

CANCELLED = b'{"error":"cancelled"}'
LOST_AT_MOST_ONCE = b'{"error":"its worker was lost, and this type runs at most once"}'
LOST_LINE = '"its worker did not report in time"'


class Moves(World):
    """The world and what is done to it in more than one call."""

    def note(self, task: Task, outcome: str, reason: str) -> None:
        words = (task.attempts, task.worker or "", task.updated or "", self.now, outcome, reason)
        task.history = [*task.history, "\t".join(map(str, words))][-20:]

    def finish(self, task: Task, status: Status, result: bytes) -> None:
        self.change(task, status)
        task.result = result
        self.finished[status][task.id] = self.now
        self.totals[status.value] += 1

    def no_longer_asked(self, task: Task) -> None:
        task.asked = None
        self.cancelling.discard(task.id)

    def carry_out(self, task: Task, result: bytes) -> None:
        if task.asked == "purge":
            del self.tasks[task.id]
            self.totals["purged"] += 1
        else:
            self.finish(task, Status.CANCELLED, result)
        self.no_longer_asked(task)

    def put_in_queue(self, task: Task, *, head: bool, alone: bool = False) -> None:
        self.change(task, Status.QUEUED)
        place = self.suspects if alone else self.ready[task.level]
        place.insert(0 if head else len(place), task.id)

    def promote(self) -> None:
        due = sorted((at, task_id) for task_id, at in self.scheduled.items() if at <= self.now)
        for _, task_id in due[:100]:
            del self.scheduled[task_id]
            self.put_in_queue(self.tasks[task_id], head=False)

    def lose(self, task: Task) -> bool:
        """The end of an attempt whose worker is gone; whether the task may run again."""
        self.note(task, "lost", LOST_LINE)
        if task.asked is not None:
            self.carry_out(task, CANCELLED)
            return False
        if task.type in self.modes:
            self.finish(task, Status.FAILED, LOST_AT_MOST_ONCE)
            return False
        return True

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

    def holds(self, task_id: str, epoch: int) -> bool:
        task = self.tasks.get(task_id)
        return task is not None and task.status is Status.PROCESSING and task.epoch == epoch
