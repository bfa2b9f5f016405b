"""Tells a person what is being done, and how long each step took."""

import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


class DeployError(Exception):
    """Something a person can act on; the message says what and how."""


def say(text: str = "") -> None:
    """One line to the person at the terminal."""
    print(text, flush=True)


@contextmanager
def step(title: str) -> Generator[None, None, None]:
    """Names a step before it starts, and its duration once it is done."""
    say(f"==> {title}")
    started_s = time.monotonic()
    yield
    say(f"    done in {time.monotonic() - started_s:.1f} s")


def run(
    words: Sequence[str],
    *,
    given: str | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Runs a program and returns its output; DeployError with what it said when it fails."""
    try:
        done = subprocess.run(  # noqa: S603 arguments are a list, no shell reads them
            words, input=given, capture_output=True, text=True, env=environment, cwd=cwd, check=False
        )
    except FileNotFoundError:
        raise DeployError(f"{words[0]} is not installed") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise DeployError(f"{' '.join(words[:4])} ... failed:\n{_indented(said[-4000:])}")
    return done.stdout


def run_logged(
    words: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    show: Callable[[str], bool] = lambda line: False,
) -> None:
    """Runs a long program with its output in a file; lines that `show` picks go to the terminal too."""
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: list[str] = []
    with (
        log.open("w") as file,
        subprocess.Popen(  # noqa: S603 arguments are a list, no shell reads them
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=cwd
        ) as child,
    ):
        for line in child.stdout or ():
            file.write(line)
            tail = [*tail[-39:], line]
            shown = show(line)
            if shown:
                sys.stdout.write(f"    {line}")
                sys.stdout.flush()
    if child.returncode:
        raise DeployError(f"{' '.join(words[:2])} failed; the end of {log}:\n{_indented(''.join(tail))}")


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines()).rstrip("\n")
