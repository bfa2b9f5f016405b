"""The documentation's table of settings is the settings' own."""

from pathlib import Path

import pytest

from infra import document
from infra.document import DOCUMENT, renewed, rows


def test_the_documented_settings_are_current():
    assert renewed(DOCUMENT.read_text()) == DOCUMENT.read_text(), "python -m infra.document"


def test_every_setting_has_a_meaning():
    assert not [key for key, _, _, meaning in rows() if not meaning]


def test_defaults_of_a_section_are_those_that_its_place_gives():
    defaults = {key: default for key, _, default, _ in rows()}
    assert defaults["`api.service.type`"] == "`LoadBalancer`"
    assert defaults["`mail.service.type`"] == "`ClusterIP`"
    assert defaults["`email.transport`"] == "required"


def test_a_document_without_a_place_for_the_table_is_refused():
    with pytest.raises(ValueError, match="has no"):
        renewed("no marks")


def test_a_table_that_is_not_current_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    copy = tmp_path / "infrastructure.md"
    copy.write_text(DOCUMENT.read_text().replace("| `namespace` |", "| `nmespace` |"))
    monkeypatch.setattr(document, "DOCUMENT", copy)
    assert document.main(["--check"]) == 1
    assert "not current" in capsys.readouterr().err
    assert document.main([]) == 0
    assert copy.read_text() == DOCUMENT.read_text()
