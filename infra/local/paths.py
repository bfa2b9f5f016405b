"""Where the cluster keeps its files: one state folder, one build cache, both outside the checkout."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

STATE_VARIABLE = "TASK_QUEUE_STATE"
CACHE_VARIABLE = "TASK_QUEUE_CACHE"
NAME = "task-queue-cluster"


@dataclass(frozen=True)
class Paths:
    """The state folder (removed by `down --purge`) and the build cache (kept)."""

    state: Path
    cache: Path

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def containerd_socket(self) -> Path:
        return self.state / "containerd" / "state" / "containerd.sock"

    @property
    def host_record(self) -> Path:
        """What the machine was like before the first `up`."""
        return self.state / "host.json"

    @property
    def bin(self) -> Path:
        """Programs for people: kubectl."""
        return self.cache / "bin"


def make(folder: Path, owner: tuple[int, int] | None) -> None:
    """Make a folder and its parents; those that were missing belong to `owner` (uid, gid) if given.

    Under sudo, a user whose ~/.cache did not exist yet must not get one that only root can write to.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        if owner:
            os.chown(each, *owner)


def sudo_user(environment: Mapping[str, str] | None = None) -> tuple[int, int] | None:
    """(uid, gid) of who called sudo; None without it."""
    env = os.environ if environment is None else environment
    if "SUDO_UID" in env and "SUDO_GID" in env:
        return int(env["SUDO_UID"]), int(env["SUDO_GID"])
    return None


def from_environment(environment: Mapping[str, str] | None = None) -> Paths:
    """Paths from TASK_QUEUE_STATE, TASK_QUEUE_CACHE or the XDG base directories."""
    env = os.environ if environment is None else environment
    home = Path(env.get("HOME") or Path.home())
    state = env.get(STATE_VARIABLE) or Path(env.get("XDG_STATE_HOME") or home / ".local/state") / NAME
    cache = env.get(CACHE_VARIABLE) or Path(env.get("XDG_CACHE_HOME") or home / ".cache") / NAME
    return Paths(state=Path(state).absolute(), cache=Path(cache).absolute())
