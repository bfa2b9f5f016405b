"""The command line of the embedded cluster: up, down, status, logs, images, check."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from infra.local import baseimages, cluster
from infra.local import paths as locations
from infra.local.components import described
from infra.local.failures import ClusterError
from infra.local.paths import Paths
from infra.local.progress import say
from infra.local.settings import Settings

# Passed on to the same program under sudo, which clears the rest.
KEPT_UNDER_SUDO = (
    "GOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "PATH",
    "PYTHONPATH",
    "SSL_CERT_FILE",
)
EXIT_FAILED, EXIT_STOPPED, EXIT_DEGRADED, EXIT_INTERRUPTED = 1, 3, 4, 130
NEEDS_ROOT = frozenset({"up", "down", "status", "images"})


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    top = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    for name, text in (
        ("up", "bring the cluster up, or what is missing of it"),
        ("check", "only look for what is in the way"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--no-install", action="store_true", help="name missing packages, install nothing"
        )
    command = commands.add_parser("down", help="end everything; objects and volumes are kept for the next up")
    command.add_argument("--purge", action="store_true", help="remove objects, volumes and images as well")
    command = commands.add_parser("status", help="exit status: 0 running, 3 stopped, 4 something is wrong")
    command.add_argument("--json", action="store_true", help="for programs")
    command = commands.add_parser("logs", help="a component's log, or the names of all")
    command.add_argument("component", nargs="?")
    command.add_argument("-f", "--follow", action="store_true")
    command.add_argument("-n", "--lines", type=int, default=100)
    command = commands.add_parser("images", help="make the base images that image builds start from")
    command.add_argument("names", nargs="*", choices=[[], *baseimages.NAMES], metavar="image")
    return top


def as_root(arguments: Sequence[str], paths: Paths) -> None:
    """Run this command again under sudo, with the same folders. Returns only if that cannot be done."""
    if shutil.which("sudo"):
        kept = [f"{name}={os.environ[name]}" for name in KEPT_UNDER_SUDO if name in os.environ]
        folders = [f"{locations.STATE_VARIABLE}={paths.state}", f"{locations.CACHE_VARIABLE}={paths.cache}"]
        command = ["sudo", "env", *kept, *folders, sys.executable, "-m", "infra.local", *arguments]
        os.execvp("sudo", command)  # noqa: S606, S607


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit status."""
    options = parser().parse_args(arguments)
    settings, paths = Settings(), locations.from_environment()
    if options.command in NEEDS_ROOT and os.geteuid() != 0:
        as_root(arguments, paths)
        if options.command == "up":
            cluster.check(settings, paths, may_install=False)  # all that is in the way, rights among it
        raise ClusterError(f"{options.command} needs root, and there is no sudo")
    if options.command in ("up", "check"):
        return _up(settings, paths, check_only=options.command == "check", may_install=not options.no_install)
    if options.command == "down":
        return _down(settings, paths, purge=options.purge)
    if options.command == "status":
        return _status(settings, paths, as_json=options.json)
    if options.command == "images":
        baseimages.ensure(options.names or baseimages.NAMES)
        return 0
    return _logs(settings, paths, options.component, lines=options.lines, follow=options.follow)


def _up(settings: Settings, paths: Paths, *, check_only: bool, may_install: bool) -> int:
    if check_only:
        cluster.check(settings, paths, may_install=False)
        say("nothing is in the way")
        return 0
    cluster.up(settings, paths, may_install=may_install)
    say(f"cluster is up: export KUBECONFIG={paths.kubeconfig}; kubectl is {paths.bin / 'kubectl'}")
    return 0


def _down(settings: Settings, paths: Paths, *, purge: bool) -> int:
    cluster.down(settings, paths, purge=purge)
    say("cluster is down" + ("" if purge else f"; its objects and volumes are kept in {paths.state}"))
    return 0


def _status(settings: Settings, paths: Paths, *, as_json: bool) -> int:
    found = cluster.status(settings, paths)
    if as_json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        for each in found.components:
            health = "healthy" if each.healthy else "unhealthy" if each.pid else "stopped"
            print(f"{each.name:24} {health:10} {each.pid or ''}")
        print(f"{'node':24} {'Ready' if found.node_ready else 'not Ready'}")
        print(f"{'metrics':24} {'available' if found.metrics_available else 'not available'}")
        print(f"kubeconfig {found.kubeconfig}\nregistry   {found.registry}")
    if found.running:
        return 0
    return EXIT_STOPPED if found.stopped else EXIT_DEGRADED


def _logs(settings: Settings, paths: Paths, component: str | None, *, lines: int, follow: bool) -> int:
    names = list(described(settings, paths))
    if component is None:
        print("\n".join(f"{name:24} {paths.logs / f'{name}.log'}" for name in names))
        return 0
    if component not in names:
        raise ClusterError(f"there is no component {component}; there are {', '.join(names)}")
    log = paths.logs / f"{component}.log"
    if not log.exists():
        raise ClusterError(f"{component} has written no log yet ({log})")
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), str(log)]
    return subprocess.run(command, check=False).returncode  # noqa: S603


def _terminated(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends `up` as Ctrl-C does: temporary files go, what runs already is kept."""
    raise KeyboardInterrupt


def main() -> int:
    """Run, and say failures without a traceback."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return run(sys.argv[1:])
    except ClusterError as error:
        say(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
