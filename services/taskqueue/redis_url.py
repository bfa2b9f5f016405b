"""The URL forms of Redis: what each says, read once into one value."""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote, urlsplit

FORMS = (
    "redis[s]://[USER@]HOST[:PORT][/DB], redis[s]+sentinel://[USER@]HOST[:PORT],.../SERVICE[/DB] "
    "or redis[s]+cluster://[USER@]HOST[:PORT],..."
)


class Form(StrEnum):
    """How the Redis behind a URL is found."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_SCHEMES = {
    f"redis{tls}{suffix}": (form, bool(tls))
    for tls in ("", "s")
    for suffix, form in (("", Form.SINGLE), ("+sentinel", Form.SENTINEL), ("+cluster", Form.CLUSTER))
}
_PORTS = {Form.SINGLE: 6379, Form.SENTINEL: 26379, Form.CLUSTER: 6379}

Address = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class RedisUrl:
    """Where Redis is. `addresses` are those of sentinels, or of some nodes, where the form has such."""

    form: Form
    tls: bool
    addresses: tuple[Address, ...]
    username: str | None = None
    service: str = ""
    database: int = 0


def parse(url: str) -> RedisUrl:
    """Reads a URL; ValueError says what is wrong, and never repeats the URL: it may hold a password.

    The grammar for Sentinel and Cluster is the one that docket and Prefect read as well.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        raise ValueError(f"must be {FORMS}")
    form, tls = _SCHEMES[scheme.lower()]
    if "?" in rest or "#" in rest:
        raise ValueError("takes no options after `?` or `#`: each has a setting of its own")
    place, _, path = rest.partition("/")
    login, _, hosts = place.rpartition("@")
    username, colon, _password = login.partition(":")
    if colon:
        raise ValueError("must hold no password (it would be logged): set REDIS_PASSWORD")
    addresses = tuple(_address(host, _PORTS[form]) for host in hosts.split(","))
    if form is Form.SINGLE and len(addresses) > 1:
        raise ValueError("names several hosts: say redis+sentinel:// or redis+cluster://")
    service, database = _path(form, path)
    return RedisUrl(
        form=form,
        tls=tls,
        addresses=addresses,
        username=unquote(username) or None,
        service=service,
        database=database,
    )


def _address(host: str, port: int) -> Address:
    try:
        parts = urlsplit(f"//{host}")
        name, own_port = parts.hostname, parts.port
    except ValueError:
        name, own_port = None, None
    if not name:
        raise ValueError("each host must be HOST or HOST:PORT, an IPv6 address in brackets")
    return name, own_port or port


def _path(form: Form, path: str) -> tuple[str, int]:
    """Service (of Sentinel) and database from what follows the hosts."""
    parts = [unquote(part) for part in path.rstrip("/").split("/")] if path else []
    service = ""
    if form is Form.SENTINEL:
        if not parts or not parts[0]:
            raise ValueError("must name the service that the sentinels watch: redis+sentinel://HOST/SERVICE")
        service = parts.pop(0)
    number = parts.pop(0) if parts else "0"
    if parts or not (number or "0").isdecimal():
        raise ValueError("must end with the number of a database, or nothing")
    database = int(number or "0")
    if form is Form.CLUSTER and database:
        raise ValueError("must not name a database: a Redis Cluster has only 0")
    return service, database
