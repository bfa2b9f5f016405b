"""Run the machine's programs, and say what they said when they fail."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from infra.local.failures import ClusterError
from infra.local.host import tool_path


def attempt(
    *argv: str,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its exit status; ClusterError if there is none of that name.

    System programs are found even when PATH lacks their folder. `env` replaces the environment.
    """
    environment = {**(os.environ if env is None else env)}
    environment["PATH"] = tool_path(environment.get("PATH", ""))
    program = shutil.which(argv[0], path=environment["PATH"])
    if program is None:
        raise ClusterError(f"{argv[0]} is not installed: python -m infra.local up installs what is needed")
    result = subprocess.run(  # noqa: S603 - argument lists only, never a shell
        [program, *argv[1:]], input=stdin, env=environment, cwd=cwd, capture_output=True, check=False
    )
    return subprocess.CompletedProcess(
        result.args,
        result.returncode,
        result.stdout.decode(errors="replace"),
        result.stderr.decode(errors="replace"),
    )


def run(
    *argv: str,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program; its output. ClusterError holds its last words when it fails."""
    result = attempt(*argv, stdin=stdin, env=env, cwd=cwd)
    if result.returncode != 0:
        shown = " ".join(argv[:4]) + (" ..." if len(argv) > 4 else "")
        raise ClusterError(f"{shown} failed ({result.returncode}):\n{result.stderr.strip()[-4000:]}")
    return result.stdout
