"""What the handlers of every queue do: count, time, or say that they began. One line a note, in one file.

It imports nothing but the standard library, as it runs in each queue's own environment. Times are of
CLOCK_MONOTONIC, which all processes of a Linux machine share.
"""

import itertools
import os
import time

_PATH = os.environ.get("BENCH_NOTES", os.devnull)
_EXPECTED = int(os.environ.get("BENCH_EXPECTED", "0"))
_counter = itertools.count(1)
_delays_s: list[float] = []


def note(*words: object) -> None:
    """Appends one line: the words, this process, the time."""
    line = f"{' '.join(map(str, words))} {os.getpid()} {time.monotonic():.6f}\n"
    with open(_PATH, "a") as file:  # noqa: PTH123 a worker's loop: the cheapest way
        file.write(line)


def count() -> int:
    """A handler that does nothing: the first and the last call leave a note, with CPU time so far."""
    number = next(_counter)  # one bytecode in C: whole among threads
    if number == 1:
        note("first", time.process_time())
    if number == _EXPECTED:
        note("last", time.process_time())
    return number


def time_from(sent_s: float) -> int:
    """A handler that keeps how long its task took to reach it; the last call writes them all."""
    _delays_s.append(time.monotonic() - sent_s)
    number = next(_counter)
    if number == _EXPECTED:
        for delay_s in _delays_s:
            note("delay", f"{delay_s:.7f}")
        note("last")
    return number


def begin(name: str) -> None:
    """A handler says that it has begun."""
    note("begin", name)
