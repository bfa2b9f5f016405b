"""Say what is being done, and how long it took when that is over two seconds."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

SHOWN_FROM_S = 2.0


def say(text: str) -> None:
    """One line to the person at the terminal; stdout is left to results."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(title: str, *, expect: str = "") -> Generator[None]:
    """Time a step. `expect` (such as "about 5 min the first time") announces a long one before it starts."""
    if expect:
        say(f"  {title} ({expect}) ...")
    started_s = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"  {title}: failed after {time.monotonic() - started_s:.1f} s")
        raise
    taken_s = time.monotonic() - started_s
    if expect or taken_s >= SHOWN_FROM_S:
        say(f"  {title}: {taken_s:.1f} s")
