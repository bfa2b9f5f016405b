"""What a log line may hold."""

import pytest
import structlog
from taskqueue import logs


@pytest.mark.parametrize("style", ["json", "console"])
def test_an_exception_is_logged_without_the_values_of_its_frames(
    style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info", style)
    secret = "canary" + "-in-a-frame"
    try:
        {}[len(secret)]
    except KeyError:
        structlog.get_logger("test").exception("failed")
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert "KeyError" in said
    assert secret not in said
