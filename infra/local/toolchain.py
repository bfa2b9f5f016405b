"""Find a Go compiler that is new enough, or get the pinned one as a module from the Go proxy."""

import base64
import hashlib
import os
import platform
import re
import shutil
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from infra.local.commands import attempt
from infra.local.failures import ClusterError
from infra.local.paths import Paths
from infra.local.progress import step

MINIMUM = (1, 26, 4)  # the `go` line of addons/go.mod
PINNED = "go1.26.8"
ARCHITECTURES = MappingProxyType({"x86_64": "amd64", "aarch64": "arm64"})


@dataclass(frozen=True)
class Toolchain:
    """A usable Go: its program and its version (such as `go1.26.8`)."""

    go: Path
    version: str

    def environment(self) -> dict[str, str]:
        """The environment of a build: static programs, and this very compiler."""
        return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}


def parse_version(text: str) -> tuple[str, tuple[int, ...]]:
    """`go version go1.26.8 linux/amd64` as ("go1.26.8", (1, 26, 8)); ValueError when it is not one."""
    match = re.search(r"\bgo(\d+(?:\.\d+)*)", text)
    if not match:
        raise ValueError(f"not an answer of `go version`: {text!r}")
    return match.group(0), tuple(int(part) for part in match.group(1).split("."))


def on_path() -> Toolchain | None:
    """The machine's own Go if it is new enough."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if not candidate or not Path(candidate).exists():
            continue
        answer = attempt(candidate, "env", "GOVERSION")
        try:
            version, parts = parse_version(answer.stdout)
        except ValueError:
            continue
        if parts >= MINIMUM:
            return Toolchain(Path(candidate), version)
    return None


def ensure(paths: Paths) -> Toolchain:
    """The machine's Go if it will do, else the pinned toolchain, fetched into the cache."""
    return on_path() or _fetched(paths)


def _fetched(paths: Paths) -> Toolchain:
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise ClusterError(
            f"no Go for {platform.machine()}: install Go {'.'.join(map(str, MINIMUM))} or later"
        )
    folder = paths.cache / "toolchains" / PINNED
    if not folder.is_dir():
        with step(f"fetch {PINNED} as a Go module", expect="about 70 MB"):
            _fetch(f"v0.0.1-{PINNED}.linux-{architecture}", folder)
    return Toolchain(folder / "bin" / "go", PINNED)


def _fetch(version: str, folder: Path) -> None:
    proxy = next(
        (each for each in re.split(r"[,|]", os.environ.get("GOPROXY", "")) if each.startswith("http")),
        "https://proxy.golang.org",
    )
    url = f"{proxy.rstrip('/')}/golang.org/toolchain/@v/{version}.zip"
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = folder.with_name(f".{folder.name}.{os.getpid()}.zip")
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, archive.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file)
    except OSError as error:
        raise ClusterError(f"no Go found, and {url} could not be fetched ({error}): install Go") from error
    try:
        _check(archive, version)
        _unpack(archive, f"golang.org/toolchain@{version}/", folder)
    finally:
        archive.unlink()


# The `h1:` hash of go.sum for golang.org/toolchain, from the checksum database (sum.golang.org).
SUMS = MappingProxyType(
    {
        "v0.0.1-go1.26.8.linux-amd64": "h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM=",
        "v0.0.1-go1.26.8.linux-arm64": "h1:sYL/O6MqS68ML0kjsQ36WoYIpJqkw60TxizWUYUKQMc=",
    }
)


def module_sum(archive: Path) -> str:
    """The `h1:` hash of a module's zip: SHA-256 over the sorted lines "<sha256 of file>  <name>"."""
    with zipfile.ZipFile(archive) as bundle:
        lines = [
            f"{hashlib.sha256(bundle.read(name)).hexdigest()}  {name}\n" for name in sorted(bundle.namelist())
        ]
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()


def _check(archive: Path, version: str) -> None:
    if (found := module_sum(archive)) != SUMS[version]:
        raise ClusterError(f"golang.org/toolchain {version} has the checksum {found}, not {SUMS[version]}")


def _unpack(archive: Path, prefix: str, folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    with zipfile.ZipFile(archive) as bundle:
        for name in bundle.namelist():
            target = temporary / name.removeprefix(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            with bundle.open(name) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
            if target.relative_to(temporary).parts[0] == "bin" or "pkg/tool" in name:
                target.chmod(0o755)  # module zips carry no modes
    temporary.rename(folder)
