"""Make the base images that image builds start from, out of Debian packages (no image registry needed)."""

from collections.abc import Iterable

NAMES = ("python", "redis", "golang")


def ensure(names: Iterable[str]) -> None:
    """Make the images that are not there yet."""
