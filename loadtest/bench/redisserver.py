"""A Redis of the bench's own: a fresh one for each trial, with the append-only file as shipped."""

import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any, cast

from redis import Redis
from redis.exceptions import RedisError

from loadtest.bench.children import BenchError, Child, Children, wait_until

DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction")
"""What infra/redis.py ships, but for memory and login: every peer has the same."""
START_S = 20


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """Ready when made; `end` stops it and removes its files."""

    def __init__(self, children: Children, core: int, *settings: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise BenchError("redis-server is missing: apt-get install redis-server")
        self._folder = Path(tempfile.mkdtemp(prefix="bench-redis-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client: Any = cast(Any, Redis).from_url(self.url)
        words = [
            program,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self._folder),
            "--save",
            "",
        ]
        self.process: Child = children.start("redis", [*words, *DURABLE, *settings], core=core)
        wait_until(self._answers, START_S, "Redis answers", tick_s=0.02)

    def _answers(self) -> bool:
        self.process.check()
        try:
            return bool(self.client.ping())
        except (RedisError, OSError):
            return False

    def used_bytes(self) -> int:
        """Its memory in use."""
        return int(self.client.info("memory")["used_memory"])

    def end(self) -> None:
        """Stops it at once; its data is of no further use."""
        self.client.close()
        self.process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "RedisServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
