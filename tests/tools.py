"""Installs the programs that tests start as real parts: `python -m tests.tools`."""

import os
import shutil
import sys

from infra.local.packages import install, install_command

PROGRAMS = {"redis-server": "redis-server", "strace": "strace", "wrk": "wrk"}
"""Program -> Debian package. The cluster's own packages are installed by the cluster."""


def main() -> int:
    """Exit status 1 with the command to type where they cannot be installed from here."""
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if not missing:
        return 0
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"missing for the tests: {', '.join(missing)}\n  {install_command(missing)}", file=sys.stderr)
        return 1
    install(missing)
    return 0


if __name__ == "__main__":
    sys.exit(main())
