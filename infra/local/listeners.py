"""Which programs listen on which TCP ports, read from /proc."""

import contextlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
LISTEN = "0A"  # include/net/tcp_states.h


@dataclass(frozen=True)
class Listener:
    """A listening socket; `pid` is 0 and `program` empty when its owner cannot be seen."""

    address: str
    port: int
    pid: int = 0
    program: str = ""


def parse_table(text: str) -> Iterable[tuple[str, int, str]]:
    """(address, port, inode) of each listening socket in /proc/net/tcp or tcp6."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if fields[3] == LISTEN:
            address, _, port = fields[1].partition(":")
            yield _address(address), int(port, 16), fields[9]


def _address(text: str) -> str:
    """The kernel writes 32-bit words, each in the machine's (little-endian) order."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def listeners(proc: Path = PROC) -> list[Listener]:
    """Every listening TCP socket of this network namespace, with its owner where that can be seen."""
    rows: list[tuple[str, int, str]] = []
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            rows += parse_table((proc / "net" / name).read_text())
    owners = _owners({inode for _, _, inode in rows}, proc)
    return [Listener(address, port, *owners.get(inode, (0, ""))) for address, port, inode in rows]


def _owners(inodes: set[str], proc: Path) -> dict[str, tuple[int, str]]:
    found: dict[str, tuple[int, str]] = {}
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for handle in (folder / "fd").iterdir():
                if inode := wanted.get(str(handle.readlink())):
                    found[inode] = (int(folder.name), (folder / "comm").read_text().strip())
    return found
