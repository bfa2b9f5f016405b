"""Whether a Redis can be trusted with tasks: facts from INFO, and what to change where it cannot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskqueue.connection import Connection
from taskqueue.errors import UnsuitableRedisError

OLDEST = (7, 0)
"""The scripts declare flags by their shebang, which came with Redis 7.0."""
WAITAOF_SINCE = (7, 2)
"""https://redis.io/docs/latest/commands/waitaof/"""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What INFO tells. Sections that a managed Redis leaves out count as in order."""

    version: str
    server: str
    eviction_policy: str
    append_only: bool
    replica: bool
    clustered: bool

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version; (0, 0) where INFO names none."""
        major, _, rest = self.version.partition(".")
        minor = rest.partition(".")[0]
        return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)

    @property
    def waitaof_offered(self) -> bool:
        """Whether a call can wait until its writes are on disk."""
        return self.release >= WAITAOF_SINCE and self.append_only


def facts(info: Mapping[str, Any]) -> Facts:
    """Reads the answer to INFO, as a dict. Valkey tells the Redis version that it is compatible with."""
    return Facts(
        version=str(info.get("redis_version", "")),
        server=str(info.get("server_name", "redis")).capitalize(),
        eviction_policy=str(info.get("maxmemory_policy", "noeviction")),
        append_only=bool(int(info.get("aof_enabled", 0))),
        replica=str(info.get("role", "master")) == "slave",
        clustered=bool(int(info.get("cluster_enabled", 0))),
    )


def problems(found: Facts, *, require_aof: bool, cluster_url: bool) -> list[str]:
    """Everything that forbids the use of this Redis, each with what to change."""
    wrong: list[str] = []
    if found.release < OLDEST:
        wrong.append(f"{found.server} {found.version} is too old: the scripts need 7.0 or later")
    if found.eviction_policy != "noeviction":
        wrong.append(
            f"it may evict tasks: its maxmemory-policy is {found.eviction_policy}, set it to noeviction"
        )
    if require_aof and not found.append_only:
        wrong.append(
            "it forgets tasks when it restarts: set appendonly to yes, or REDIS_REQUIRE_AOF to false"
        )
    if found.replica:
        wrong.append("it is a read-only replica: let REDIS_URL name the master, or use redis+sentinel://")
    if found.clustered and not cluster_url:
        wrong.append("it is a node of a Redis Cluster: let REDIS_URL begin with redis+cluster://")
    return wrong


async def check(connection: Connection, *, require_aof: bool) -> Facts:
    """Reads INFO, since CONFIG is often closed on managed ones; UnsuitableRedisError tells every problem."""
    found = facts(await connection.command("INFO"))
    wrong = problems(found, require_aof=require_aof, cluster_url=connection.clustered)
    if wrong:
        raise UnsuitableRedisError("this Redis cannot be used:" + "".join(f"\n  {each}" for each in wrong))
    return found
