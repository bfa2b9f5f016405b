"""What docs/queue.md claims has a test by the name given there."""

import re

import pytest

from tests.fixtures.processes import ROOT

NAMED = re.findall(r"`(?:(unit)/)?(test_\w+\.py) -k (\w+)`", (ROOT / "docs" / "queue.md").read_text())


def test_the_document_names_tests() -> None:
    assert len(NAMED) > 40


@pytest.mark.parametrize(("unit", "file", "word"), NAMED)
def test_every_test_that_is_named_exists(unit: str, file: str, word: str) -> None:
    found = ROOT / "tests" / (unit or "integration") / file
    assert re.search(rf"def test_\w*{word}\w*", found.read_text())
