"""How much of Redis' AOF had been synced to disk, from a trace of its system calls: pure."""

import re
from collections.abc import Iterable

COMMAND = (
    "strace", "-D", "-f", "--seccomp-bpf", "-y", "-s", "0", "-e", "trace=write,fdatasync,fsync",
    "-e", "signal=none", "-o",
)  # fmt: skip
"""Then the file to write, then Redis' own command. -D: Redis stays our child; -y: paths of files."""
_CALL = re.compile(r"^(\d+) +(write|fdatasync|fsync)\(\d+<([^>]*)>")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (write|fdatasync|fsync) resumed>")
_RESULT = re.compile(r"= (-?\d+)(?: |$)")


def sizes(lines: Iterable[str], path_ends_with: str) -> tuple[int, int]:
    """(bytes written, bytes known to be synced) of the file at the end of the trace.

    A sync that returned covers what was written before it was called, not what came meanwhile.
    """
    written = synced = 0
    begun: dict[tuple[str, str], int | None] = {}  # (thread, call) -> written before it; None: another file
    for line in lines:
        if called := _CALL.match(line):
            thread, call, path = called.groups()
            begun[thread, call] = written if path.endswith(path_ends_with) else None
        elif resumed := _RESUMED.match(line):
            thread, call = resumed.groups()
        else:
            continue
        result = _RESULT.search(line)
        if result is None:  # still under way
            continue
        before = begun.pop((thread, call), None)
        if before is None or int(result[1]) < 0:
            continue
        if call == "write":
            written += int(result[1])
        else:
            synced = max(synced, before)
    return written, synced
