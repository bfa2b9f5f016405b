"""Make the base images that image builds start from, out of Debian packages: none has to be pulled.

Each lands in buildah's store under the name of the public image it stands in for, so that one
Dockerfile builds here and wherever that image can be pulled. Root file systems are cached as
archives; an image carries a label with a hash of its recipe, and is made again when that changes.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from infra.local import toolchain
from infra.local.commands import attempt, run
from infra.local.failures import ClusterError
from infra.local.health import answers
from infra.local.paths import Paths, from_environment
from infra.local.progress import step
from infra.local.settings import Settings

LABEL = "task-queue.recipe"
SUITE = "trixie"
MIRROR_VARIABLE = "TASK_QUEUE_DEBIAN_MIRROR"
MIRROR = "http://deb.debian.org"
# What the public slim images leave out as well.
_DOCS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one base image is made. `hooks` are shell lines run on the root file system, which is "$1"."""

    reference: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    extra: str = ""  # what else goes in, such as the version of Go
    push_as: str = ""  # path in the local registry, for images that pods run as they are

    @property
    def rootfs_key(self) -> str:
        """A hash of what the root file system is made of."""
        return _hash([SUITE, self.packages, self.hooks, _DOCS])

    @property
    def key(self) -> str:
        """A hash of the whole recipe."""
        return _hash([asdict(self), self.rootfs_key])


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


_PYTHON_HOOKS = (
    # The public image has its Python in /usr/local, and lets pip install into it.
    'ln -s /usr/bin/python3 "$1/usr/local/bin/python"',
    'ln -s /usr/bin/python3 "$1/usr/local/bin/python3"',
    'rm "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
)
_REDIS_ENTRYPOINT = r"""#!/bin/sh
# As the public image: options or a file alone mean redis-server, which root runs as redis.
set -e
case "${1:-}" in -*|*.conf) set -- redis-server "$@" ;; esac
if [ "${1:-}" = redis-server ] && [ "$(id -u)" = 0 ]; then
    find . \! -user redis -exec chown redis:redis {} +
    exec setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"
fi
umask 0077
exec "$@"
"""
_REDIS_HOOKS = (
    # Manifests name the public image's user by number.
    'chroot "$1" usermod --uid 999 redis && chroot "$1" groupmod --gid 999 redis',
    'for each in server cli benchmark; do ln -s /usr/bin/redis-$each "$1/usr/local/bin/"; done',
    'mkdir "$1/data" && chroot "$1" chown redis:redis /data',
    f"cat > \"$1/usr/local/bin/docker-entrypoint.sh\" <<'END'\n{_REDIS_ENTRYPOINT}END",
    'chmod 755 "$1/usr/local/bin/docker-entrypoint.sh"',
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def recipes() -> dict[str, Recipe]:
    """Every base image by its short name."""
    return {
        "python": Recipe(
            reference="docker.io/library/python:3.13-slim-trixie",
            packages=("python3", "python3-venv", "python3-pip", "ca-certificates", "netbase", "tzdata"),
            hooks=_PYTHON_HOOKS,
            config=("--env", f"PATH={_PATH}", "--env", "LANG=C.UTF-8", "--cmd", "python3"),
        ),
        "redis": Recipe(
            reference="docker.io/library/redis:8",
            packages=("redis-server", "ca-certificates"),
            hooks=_REDIS_HOOKS,
            config=(
                *("--env", f"PATH={_PATH}", "--workingdir", "/data", "--volume", "/data", "--port", "6379"),
                *("--entrypoint", '["docker-entrypoint.sh"]', "--cmd", "redis-server"),
            ),
            push_as="library/redis:8",
        ),
        "golang": Recipe(
            reference="docker.io/library/golang:1.26-trixie",
            packages=("ca-certificates",),
            config=(
                *("--env", f"PATH=/go/bin:/usr/local/go/bin:{_PATH}", "--env", "GOPATH=/go"),
                *("--env", "GOTOOLCHAIN=local", "--workingdir", "/go", "--cmd", "bash"),
            ),
        ),
    }


NAMES = ("python", "redis", "golang")


def ensure(names: Iterable[str]) -> None:
    """Make the named images (`python`, `redis`, `golang`) as far as they are not there yet.

    An image of that name that was pulled is left alone. ClusterError when one cannot be made.
    """
    paths, known = from_environment(), recipes()
    for name in names:
        if name not in known:
            raise ClusterError(f"there is no base image {name}; there are {', '.join(known)}")
        with _locked(paths):
            _ensure(known[name], name, paths)


def root_file_system(name: str) -> Path:
    """The archive (tar) of a base image's root file system, made where it is not cached yet.

    Named by a hash of its recipe. ClusterError where mmdebstrap or the package mirror is missing.
    """
    paths = from_environment()
    with _locked(paths):
        return _rootfs(recipes()[name], name, paths)


@contextmanager
def _locked(paths: Paths) -> Generator[None]:
    """Two that need the same image make it once."""
    paths.cache.mkdir(parents=True, exist_ok=True)
    with (paths.cache / ".images.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _ensure(recipe: Recipe, name: str, paths: Paths) -> None:
    install = None
    if name == "golang":
        go = toolchain.ensure(paths)
        recipe = replace(recipe, extra=f"{go.version} {_go_settings(go)}")
        install = partial(_add_go, go=go)
    if _label(recipe.reference) not in (recipe.key, "pulled"):
        with step(f"base image {recipe.reference}", expect="about 40 s the first time"):
            _commit(recipe, _rootfs(recipe, name, paths), install)
    if recipe.push_as:
        _push(recipe, Settings().registry)


def _rootfs(recipe: Recipe, name: str, paths: Paths) -> Path:
    """The archive of the root file system, from the cache or made by mmdebstrap."""
    archive = paths.cache / "rootfs" / f"{name}-{recipe.rootfs_key}.tar"
    if archive.exists():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    for abandoned in archive.parent.glob(f".{name}-*"):
        abandoned.unlink(missing_ok=True)
    temporary = archive.with_name(f".{archive.name}.{os.getpid()}")
    mirror = os.environ.get(MIRROR_VARIABLE, MIRROR)
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=tar"]
    command += [f"--dpkgopt={line}" for line in _DOCS]
    command += [f"--include={','.join(recipe.packages)}"]
    command += [f"--customize-hook={hook}" for hook in recipe.hooks]
    command += [SUITE, str(temporary), *_sources(mirror)]
    run(*command)
    temporary.replace(archive)
    return archive


def _sources(mirror: str) -> tuple[str, ...]:
    """Debian with its security updates, by apt's own format."""
    return (
        f"deb {mirror}/debian {SUITE} main",
        f"deb {mirror}/debian {SUITE}-updates main",
        f"deb {mirror}/debian-security {SUITE}-security main",
    )


def _commit(recipe: Recipe, rootfs: Path, install: Callable[[str], None] | None) -> None:
    container = run("buildah", "from", "scratch").strip()
    try:
        run("buildah", "add", "--quiet", container, str(rootfs), "/")
        if install:
            install(container)
        run("buildah", "config", *recipe.config, "--label", f"{LABEL}={recipe.key}", container)
        run("buildah", "commit", "--quiet", container, recipe.reference)
    finally:
        run("buildah", "rm", container)


def _go_settings(go: toolchain.Toolchain) -> str:
    """Where this machine's Go gets its modules from, as lines of go.env."""
    names = ("GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE")
    values = json.loads(run(str(go.go), "env", "-json", *names))
    return "".join(f"{name}={values[name]}\n" for name in names) + "GOTOOLCHAIN=local\n"


def _add_go(container: str, go: toolchain.Toolchain) -> None:
    root = run(str(go.go), "env", "GOROOT").strip()
    run("buildah", "copy", "--quiet", container, root, "/usr/local/go")
    mounted = Path(run("buildah", "mount", container).strip())
    try:
        (mounted / "usr/local/go/go.env").write_text(_go_settings(go))
        for folder in ("go/src", "go/bin"):
            (mounted / folder).mkdir(parents=True, exist_ok=True)
    finally:
        run("buildah", "umount", container)


def _label(reference: str) -> str:
    """The recipe's hash of an image in the store; `pulled` if it has none, empty if there is no image."""
    answer = attempt("buildah", "inspect", "--type", "image", reference)
    if answer.returncode != 0:
        return ""
    labels: dict[str, str] = json.loads(answer.stdout)["OCIv1"].get("config", {}).get("Labels") or {}
    return labels.get(LABEL, "pulled")


def _push(recipe: Recipe, registry: str) -> None:
    """Put the image where pods pull from, if the registry is up and has another one or none."""
    if not answers(f"http://{registry}/v2/"):
        return
    target = f"{registry}/{recipe.push_as}"
    record = from_environment().state / "registry" / f".{recipe.push_as.replace('/', '_')}"
    if record.exists() and record.read_text() == recipe.key:
        return
    with step(f"push {target}"):
        run("buildah", "push", "--quiet", "--tls-verify=false", recipe.reference, f"docker://{target}")
    record.write_text(recipe.key)
