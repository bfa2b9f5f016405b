"""Install the Debian packages that the cluster runs on, without letting their services start."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from infra.local.commands import attempt
from infra.local.failures import ClusterError
from infra.local.host import tool_path
from infra.local.progress import step
from infra.local.settings import PACKAGES

POLICY = Path("/usr/sbin/policy-rc.d")
# 101: "action forbidden by policy" (invoke-rc.d). The registry, etcd and containerd start themselves
# when installed, the registry on port 5000, which is the API's.
REFUSE_ALL = "#!/bin/sh\n# Written by the task queue's cluster while it installs packages.\nexit 101\n"


def missing_packages() -> list[str]:
    """The packages of which a program is not there, sorted."""
    path = tool_path()
    return sorted({package for program, package in PACKAGES.items() if not shutil.which(program, path=path)})


def install_command(packages: list[str]) -> str:
    """What a person types to install them."""
    return f"apt-get update && apt-get install --no-install-recommends -y {' '.join(packages)}"


@contextmanager
def services_held(policy: Path = POLICY) -> Generator[None]:
    """Refuse every service start while packages are installed; the policy is put back as it was found.

    What a killed run left behind is known by its text, and is not taken for the machine's own.
    """
    kept = policy.with_name(f"{policy.name}.task-queue")
    if policy.exists() and policy.read_text() != REFUSE_ALL:
        policy.rename(kept)
    policy.write_text(REFUSE_ALL)
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)
        if kept.exists():
            kept.rename(policy)


def install(packages: list[str]) -> None:
    """Install packages by apt-get. ClusterError holds apt's words and the command to try by hand."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"install {' '.join(packages)}", expect="about 1 min"), services_held():
        # A list that cannot be fetched (a third party's, say) need not concern our packages.
        attempt("apt-get", "update", "-qq", env=environment)
        command = ("apt-get", "install", "--no-install-recommends", "-y", "-qq", *packages)
        result = attempt(*command, env=environment)
    if result.returncode != 0:
        raise ClusterError(
            f"apt-get could not install the packages:\n{result.stderr.strip()}\n"
            f"  by hand: {install_command(packages)}"
        )
