"""What goes into an image: the files that its .dockerignore, an allow-list, lets in, and a hash of them."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


class ContextError(Exception):
    """A Dockerfile or its allow-list is missing, or the list is none."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A line of a .dockerignore: a pattern, and whether what matches goes in."""

    pattern: str
    lets_in: bool

    def matches(self, path: str) -> bool:
        """Whether it speaks of the path or of a folder that it is in, as Docker reads it."""
        return bool(re.fullmatch(f"{_as_regex(self.pattern)}(/.*)?", path))

    def start(self) -> str:
        """The folder or file below which all matches are."""
        return re.split(r"[^/]*[*?\[]", self.pattern, maxsplit=1)[0].rstrip("/")


def _as_regex(pattern: str) -> str:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.sub(r"\*\*/|\*\*|\*|\?|[^*?]+", lambda m: parts.get(m[0]) or re.escape(m[0]), pattern)


def read_rules(file: Path) -> list[Rule]:
    """The rules of an allow-list, whose first line must be `*`; ContextError otherwise."""
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except OSError as error:
        raise ContextError(f"{file.name}: {error.strerror}") from None
    rules = [line for line in lines if line and not line.startswith("#")]
    if not rules or rules[0] not in ("*", "**"):
        raise ContextError(f"{file.name}: it must begin with `*`: an allow-list")
    return [Rule(pattern=rule.lstrip("!").strip("/"), lets_in=rule.startswith("!")) for rule in rules]


def context_files(root: Path, ignore_file: Path) -> Iterator[Path]:
    """Files that go into the build, in the order of their paths; the last rule that matches one decides."""
    rules = read_rules(ignore_file)
    found: set[Path] = set()
    for start in {rule.start() for rule in rules if rule.lets_in}:
        top = root / start
        if not start or not top.exists():
            raise ContextError(f"{ignore_file.name}: {start or 'a pattern from the root'}: nothing is there")
        found.update(path for path in ([top] if top.is_file() else top.rglob("*")) if path.is_file())
    for path in sorted(found):
        name = path.relative_to(root).as_posix()
        if [rule.lets_in for rule in rules if rule.matches(name)][-1]:
            yield path


def content_tag(root: Path, dockerfile: str, build_args: Mapping[str, str]) -> str:
    """A tag from the paths and bytes of all that goes in, not their times and modes."""
    file = root / dockerfile
    if not file.is_file():
        raise ContextError(f"{dockerfile}: it is not there")
    total = hashlib.sha256()
    for key, value in sorted(build_args.items()):
        total.update(f"{key}={value}\0".encode())
    for path in (file, *context_files(root, file.with_name(f"{file.name}.dockerignore"))):
        total.update(f"{path.relative_to(root).as_posix()}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]
