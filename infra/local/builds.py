"""Build the cluster's Go programs from pinned modules into the cache, once per content.

A build goes to a temporary name and is renamed when whole, so that an interrupted one poisons nothing;
its folder is named by a hash of all that goes in, so that an old one is never mistaken for a new one.
"""

import hashlib
import os
import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from infra.local.commands import attempt
from infra.local.failures import ClusterError
from infra.local.paths import Paths
from infra.local.progress import step
from infra.local.settings import Settings
from infra.local.toolchain import Toolchain

SOURCES = Path(__file__).parent
NODE_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
    "kubectl",
)


@dataclass(frozen=True, kw_only=True)
class Program:
    """One Go program of ours around pinned modules. `names` are links to it, for argv[0]."""

    name: str
    module: str
    package: str
    expect: str
    names: tuple[str, ...] = ()
    ldflags: str = "-s -w"


def programs(settings: Settings) -> tuple[Program, ...]:
    """All programs of the cluster, the largest first."""
    version = settings.kubernetes_version
    major, minor, _ = version.removeprefix("v").split(".")
    stamp = "-X k8s.io/component-base/version."
    kubernetes = f"-s -w {stamp}gitVersion={version} {stamp}gitMajor={major} {stamp}gitMinor={minor}"
    return (
        Program(
            name="k8s",
            module="k8s",
            package=".",
            expect="about 6 min the first time",
            names=NODE_PROGRAMS,
            ldflags=kubernetes,
        ),
        Program(
            name="metrics-server",
            module="addons",
            package="./metricsserver",
            expect="about 2 min the first time",
        ),
        Program(name="volumes", module="addons", package="./volumes", expect="about 10 s"),
        Program(name="coredns", module="coredns", package=".", expect="about 1 min the first time"),
        Program(name="pause", module="k8s", package="./pause", expect=""),
    )


def key(program: Program, go_version: str, sources: Path = SOURCES) -> str:
    """A hash of the program's sources, its module's pins, its flags and the compiler."""
    digest = hashlib.sha256(f"{program.ldflags}\n{go_version}\n{platform.machine()}\n".encode())
    module = sources / program.module
    files = [module / "go.mod", module / "go.sum", *sorted((module / program.package).glob("*.go"))]
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def destination(program: Program, paths: Paths, go_version: str) -> Path:
    """The folder that holds the built program; it exists only when the build is whole."""
    return paths.cache / "programs" / f"{program.name}-{key(program, go_version)}"


def missing(settings: Settings, paths: Paths, go_version: str) -> list[Program]:
    """The programs that have yet to be built."""
    return [each for each in programs(settings) if not destination(each, paths, go_version).is_dir()]


def ensure(settings: Settings, paths: Paths, toolchain: Toolchain) -> dict[str, Path]:
    """Build what is missing. Returns each program's (or link's) name and its path.

    Raises ClusterError with the compiler's words if a build fails.
    """
    found: dict[str, Path] = {}
    for program in programs(settings):
        folder = destination(program, paths, toolchain.version)
        if not folder.is_dir():
            with step(f"build {program.name}", expect=program.expect):
                _build(program, folder, toolchain)
        for name in (program.name, *program.names):
            found[name] = folder / name
    _link_kubectl(paths, found["kubectl"])
    return found


def _build(program: Program, folder: Path, toolchain: Toolchain) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _drop_abandoned(folder.parent.glob(f".{program.name}-*"))
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    temporary.mkdir()
    command = [str(toolchain.go), "build", "-trimpath", "-buildvcs=false", "-mod=readonly"]
    command += ["-ldflags", program.ldflags, "-o", str(temporary / program.name), program.package]
    result = attempt(*command, cwd=SOURCES / program.module, env=toolchain.environment())
    if result.returncode != 0:
        shutil.rmtree(temporary)
        raise ClusterError(f"building {program.name} failed:\n{result.stderr[-4000:]}")
    for name in program.names:
        (temporary / name).symlink_to(program.name)
    temporary.rename(folder)


def _drop_abandoned(folders: Iterable[Path]) -> None:
    """Remove what a killed build left; the lock on `up` means that nobody is still writing it."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _link_kubectl(paths: Paths, program: Path) -> None:
    """Give people a stable path to kubectl, whatever the version of the build."""
    paths.bin.mkdir(parents=True, exist_ok=True)
    link = paths.bin / "kubectl"
    if link.is_symlink() and link.readlink() == program:
        return
    temporary = paths.bin / f".kubectl.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(program)
    temporary.replace(link)
