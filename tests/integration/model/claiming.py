"""What settle_and_claim does and answers: outcomes first, then the next tasks, or the word to drain."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from taskqueue.model import MICROSECOND, Claim, ClaimReply, Next, Outcome
from taskqueue.states import Status

from tests.integration.model.moves import Moves
from tests.integration.model.world import Isolator, Record

ISOLATE_US = 5 * MICROSECOND


@dataclass
class Call:
    """One settle_and_claim under way."""

    worker: str
    want: int
    held_beside: int
    lease_end: int
    claims: list[Claim] = field(default_factory=list[Claim])


class Claiming(Moves):
    """The call that workers live by."""

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
        self.promote()
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

    def _settle(self, outcome: Outcome) -> bool:
        if not self.holds(outcome.id, outcome.epoch):
            return False
        task = self.tasks[outcome.id]
        asked, status = task.asked, outcome.status
        del self.running[task.id]
        if not outcome.counts and not (status is Status.COMPLETED and asked is None):
            task.attempts -= 1
        if status is not Status.COMPLETED:
            self.note(task, status, outcome.result.decode())
        if asked == "purge" or (asked and status is Status.SCHEDULED):
            self.carry_out(task, outcome.result)
            return True
        self.no_longer_asked(task)
        if status is Status.SCHEDULED:
            self.change(task, status)
            task.result = outcome.result
            self.scheduled[task.id] = self.now + outcome.retry_in_us
            self.totals["retried"] += 1
        else:
            self.finish(task, status, outcome.result)
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
