"""Each peer's Python environment, with pinned versions, made once and kept in the user's cache."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from loadtest.bench.children import BenchError

NAME = "task-queue-bench"
REQUIREMENTS = Path(__file__).parent / "peers" / "requirements"


def cache_folder(env: Mapping[str, str]) -> Path:
    """Where environments are kept: under XDG_CACHE_HOME, else ~/.cache."""
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / NAME


def prepare(name: str, cache: Path) -> Path:
    """The environment's folder, made if need be: whole or not at all, named by a hash of what is in it."""
    pins = REQUIREMENTS / f"{name}.txt"
    content = pins.read_bytes() + sys.version.encode()
    folder = cache / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    print(f"  {name}: installing its pinned packages into {folder}", file=sys.stderr, flush=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
    try:
        _uv("venv", "--quiet", "--clear", "--relocatable", "--python", sys.executable, str(partial))
        python = str(partial / "bin" / "python")
        _uv("pip", "install", "--quiet", "--require-hashes", "--python", python, "-r", str(pins))
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def own_folder() -> Path:
    """This project's environment: the one that runs this."""
    return Path(sys.executable).parent.parent


def python_version() -> str:
    """Of this interpreter, which every environment uses too."""
    return sys.version.split()[0]


def _uv(*words: str) -> None:
    program = Path(sys.executable).with_name("uv")
    done = subprocess.run(  # noqa: S603 - argument lists only, never a shell
        [str(program), *words], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    if done.returncode:
        raise BenchError(
            f"uv {words[0]} failed, is the package registry reached?\n{done.stderr.strip()[-2000:]}"
        )
