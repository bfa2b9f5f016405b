"""A worker that obeys what it is told: to drain, to run a task alone."""

from dataclasses import dataclass, field

from taskqueue.model import ClaimReply, Next, Outcome


@dataclass
class Worker:
    """One that obeys the protocol: what it holds (id -> epoch), and what it was told to do next."""

    name: str
    sequence: int = 0
    held: dict[str, int] = field(default_factory=dict[str, int])
    next: Next = Next.WAIT
    last: tuple[list[Outcome], int, int] | None = None

    def heed(self, reply: ClaimReply, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self.held.pop(outcome.id, None)
        if reply.next is Next.ALONE:
            assert len(reply.claims) == 1
            assert self.held.keys() <= {reply.claims[0].id}, "a suspect, and others are held"
        self.held |= {claim.id: claim.epoch for claim in reply.claims}
        self.next = reply.next

    def may_take(self, settled: int) -> int:
        """How many tasks it may ask for beside what it would then hold."""
        rest = len(self.held) - settled
        if self.next is Next.ALONE:
            return 0 if rest else 3
        if self.next is Next.DRAIN:
            return 0 if rest else 1
        return max(0, 4 - rest)
