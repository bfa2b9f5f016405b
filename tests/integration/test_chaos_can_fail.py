"""Chaos turns red, and for the right reason, when a safeguard of the queue is taken out of its scripts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.altered import WITHOUT, services_without
from tests.fixtures.processes import ROOT
from tests.integration.test_chaos import LIMIT_S, chaos

SMALL = (
    "run", "--appendfsync", "everysec", "--workers", "2", "--apis", "1", "--lease-s", "2", "--renew-s", "0.5",
)  # fmt: skip
HELD = ("--mail", "defer_data=100,stall=100", "--mail-failing-attempts", "1")
"""The first answer to each mail is a 451 after 0.3 to 1.5 s: a fault always finds mails under way."""


@dataclass(frozen=True)
class Case:
    """Options under which the safeguard is what matters, and what its lack has to show."""

    options: tuple[str, ...]
    shows: Callable[[dict[str, Any]], bool]


CASES = {
    # A thawed worker reports the 451 of a mail that another has delivered meanwhile: it is sent once more.
    "fencing": Case(
        ("--tasks", "200", "--rate", "60", "--faults", "worker_freeze=3", *HELD),
        lambda result: result["duplicated_unexplained"] > 0 and result["lost"] == 0,
    ),
    # What a killed worker held stays with it.
    "reap": Case(
        ("--tasks", "120", "--rate", "40", "--faults", "worker_kill=2", *HELD),
        lambda result: result["lost"] > 0 and result["duplicated_unexplained"] == 0,
    ),
    # The answer to an enqueue is cut off; the API asks again when the mail is already delivered.
    "idempotent enqueue": Case(
        ("--tasks", "240", "--rate", "60", "--faults", "api_cut=6", "--mail", "none"),
        lambda result: result["duplicated_unexplained"] > 0 and result["lost"] == 0,
    ),
}


def test_every_alteration_is_put_to_the_test() -> None:
    assert CASES.keys() == WITHOUT.keys()


@pytest.mark.timeout(LIMIT_S + 30)
@pytest.mark.parametrize("safeguard", CASES)
def test_without_a_safeguard_chaos_fails_for_that_reason(safeguard: str, tmp_path: Path) -> None:
    case = CASES[safeguard]
    services = services_without(safeguard, tmp_path)
    status, result, said = chaos(tmp_path / "chaos", *SMALL, *case.options, "--services", str(services))
    assert (status, result["passed"]) == (1, False), said
    assert case.shows(result), said


@pytest.mark.timeout(LIMIT_S + 30)
@pytest.mark.parametrize("safeguard", CASES)
def test_with_it_the_same_run_passes(safeguard: str, tmp_path: Path) -> None:
    status, _, said = chaos(tmp_path, *SMALL, *CASES[safeguard].options, "--services", str(ROOT / "services"))
    assert status == 0, said
