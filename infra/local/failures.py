"""The errors that the embedded cluster reports to a person, without a traceback."""

from pathlib import Path


class ClusterError(Exception):
    """Something a person can act on; the message says what and how."""


class ComponentFailedError(ClusterError):
    """A component stopped or never became ready; the message ends with the tail of its log."""

    def __init__(self, component: str, what: str, log: Path) -> None:
        super().__init__(f"{component} {what}. The end of {log}:\n{tail(log)}")
        self.component = component


def tail(log: Path, lines: int = 25, max_bytes: int = 64 * 1024) -> str:
    """The last lines of a log, however large the file; a sentence if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - max_bytes))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "  (no log was written)"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (the log is empty)"
