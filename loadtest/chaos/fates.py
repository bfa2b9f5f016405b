"""How the mail server treats each transaction: a pure function of seed, recipient and attempt."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

FAILING_ATTEMPTS = 2
"""Later ones succeed, so that the mail server alone never uses up the five attempts of a task."""


class Fate(StrEnum):
    """What becomes of a transaction. Only `taken` and `drop_after` keep the mail."""

    TAKEN = "taken"
    DEFER_RCPT = "defer_rcpt"  # 450 to RCPT
    DEFER_DATA = "defer_data"  # 451 after the end of DATA
    REJECT_RCPT = "reject_rcpt"  # 550 to RCPT, on every attempt
    REJECT_DATA = "reject_data"  # 554 after the end of DATA, on every attempt
    DROP_BEFORE = "drop_before"  # the connection goes in the middle of the mail
    DROP_AFTER = "drop_after"  # the mail is kept, and the connection goes without an answer


PASSING = (Fate.DEFER_RCPT, Fate.DEFER_DATA, Fate.DROP_BEFORE, Fate.DROP_AFTER)
FINAL = (Fate.REJECT_RCPT, Fate.REJECT_DATA)
STALL = "stall"
DEFAULT_PERCENT = {
    "defer_rcpt": 1.5, "defer_data": 1.5, "reject_rcpt": 0.5, "reject_data": 0.5,
    "drop_before": 1.0, "drop_after": 1.0, "stall": 2.0,
}  # fmt: skip
STALL_S = (0.3, 1.5)


@dataclass(frozen=True, slots=True)
class Treatment:
    """A fate, and how long the last answer is held back."""

    fate: Fate
    stall_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Fates:
    """Draws treatments; `percent` maps a fate's name, or `stall`, to how many in a hundred.

    What is final (5xx) is drawn by recipient, so that a mail is never both taken and refused for good.
    """

    seed: int
    percent: dict[str, float]
    failing_attempts: int = FAILING_ATTEMPTS

    def treatment(self, key: str, attempt: int) -> Treatment:
        """For the transaction number `attempt` (from 0) to this recipient."""
        final = self._pick(Random(f"{self.seed}/{key}"), FINAL)  # noqa: S311
        if final is not Fate.TAKEN:
            return Treatment(final)
        if attempt >= self.failing_attempts:
            return Treatment(Fate.TAKEN)
        random = Random(f"{self.seed}/{key}/{attempt}")  # noqa: S311
        fate = self._pick(random, PASSING)
        stalls = random.uniform(0, 100) < self.percent.get(STALL, 0.0)
        return Treatment(fate, random.uniform(*STALL_S) if stalls else 0.0)

    def _pick(self, random: Random, fates: tuple[Fate, ...]) -> Fate:
        drawn = random.uniform(0, 100)
        for fate in fates:
            drawn -= self.percent.get(fate.value, 0.0)
            if drawn < 0:
                return fate
        return Fate.TAKEN
