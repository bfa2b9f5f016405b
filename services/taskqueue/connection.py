"""Connections to Redis in every form: the one policy on time-outs, retries and errors."""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, cast

from hiredis import ReplyError
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from taskqueue.cluster import Cluster
from taskqueue.errors import QueueFullError, QueueUnavailableError, UnsuitableRedisError
from taskqueue.redis_url import Form, parse
from taskqueue.routes import Route, Sentinel, Single
from taskqueue.settings import RedisSettings
from taskqueue.wire import Login, LoginRefusedError, Words

_CANNOT_SERVE = {
    *("LOADING", "READONLY", "MASTERDOWN", "MISCONF", "CLUSTERDOWN", "TRYAGAIN"),
    *("UNBLOCKED", "MOVED", "ASK", "BUSY", "NOREPLICAS"),
}
_NO_ENTRY = {"NOAUTH", "WRONGPASS", "NOPERM"}
_BLOCKING = {"BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"}
_WITHOUT_KEY = {"INFO", "PING", "TIME", "ROLE", "WAIT", "WAITAOF", "SCRIPT", "CONFIG", "CLUSTER", "COMMAND"}
# What the client of redis-py makes of an answer: INFO as a dict, and so on.
_SHAPES: dict[str, Callable[[Any], Any]] = dict(cast(Any, Redis)().response_callbacks)


class Durable(NamedTuple):
    """What a script answered, and whether its writes were on disk within the time given."""

    answer: Any
    synced: bool


class Connection:
    """Calls to Redis that answer, or fail, within the settings' time-out.

    A call raises QueueUnavailableError or QueueFullError. It is never repeated here: the callers
    do that, as only they know which call is safe to repeat, and until when it is of use. (A node
    of a cluster that says MOVED or ASK has not run the command; it goes where it belongs.)

    Calls share a socket. `size` is the most that blocking ones, which cannot, may hold at a time.
    """

    def __init__(self, settings: RedisSettings, *, timeout_s: float | None = None, size: int = 50) -> None:
        self._timeout_s = timeout_s or settings.redis_timeout_s
        self._route = _route(settings, size)
        # Commands without a key go to the node of the settings' own queue.
        self._home = f"tq:{{{settings.queue_name}}}:".encode()

    @property
    def clustered(self) -> bool:
        """Whether the settings' URL is that of a Redis Cluster."""
        return isinstance(self._route, Cluster)

    async def command(self, *words: Any) -> Any:
        """One command and its answer, as redis-py gives it (bytes, int, list, dict, None)."""
        (answer,) = await self._call(self._key_of(words), [words], alone=words[0] in _BLOCKING)
        return _shaped(words, answer)

    async def pipeline(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Several commands in one round trip (one for each slot, in a cluster), not as a transaction."""
        asked = list(commands)
        slots: dict[int, list[int]] = {}
        for number, words in enumerate(asked):
            slots.setdefault(self._route.slot(self._key_of(words)), []).append(number)
        answers: list[Any] = [None] * len(asked)
        for numbers in slots.values():
            part = [asked[number] for number in numbers]
            for number, answer in zip(numbers, await self._call(self._key_of(part[0]), part), strict=True):
                answers[number] = answer
        return [_shaped(words, answer) for words, answer in zip(asked, answers, strict=True)]

    async def script(self, sha: str, source: bytes, key: str, args: Iterable[Any]) -> Any:
        """Runs a script by its hash, and loads it where Redis does not know it (again)."""
        rest = (1, key, *args)
        home = key.encode()
        (answer,) = await self._call(home, [("EVALSHA", sha, *rest)])
        if _unknown_script(answer):  # the first call, or a restarted Redis
            (answer,) = await self._call(home, [("EVAL", source, *rest)])
        return _checked(answer)

    async def script_durably(
        self, sha: str, source: bytes, key: str, args: Iterable[Any], *, timeout_ms: int
    ) -> Durable:
        """As `script`, then waits until Redis has its writes on disk, or `timeout_ms` have passed.

        One round trip, on a socket of its own, as it blocks. UnsuitableRedisError where this Redis
        has no WAITAOF or no append-only file: the script has run all the same.
        """
        rest = (1, key, *args)
        home = key.encode()
        # WAITAOF waits for what its own socket wrote last. A script that finds everything stored
        # already writes nothing, and the write of the call before may still be on its way.
        mark = ("SET", key + "probe", "1", "PX", 1000)
        wait = ("WAITAOF", 1, 0, timeout_ms)
        extra_s = timeout_ms / 1000
        calls = [("EVALSHA", sha, *rest), mark, wait]
        answer, marked, waited = await self._call(home, calls, alone=True, extra_s=extra_s)
        if _unknown_script(answer):
            calls = [("EVAL", source, *rest), mark, wait]
            answer, marked, waited = await self._call(home, calls, alone=True, extra_s=extra_s)
        answer = _checked(answer)
        if isinstance(waited, ReplyError):
            raise UnsuitableRedisError(f"Redis cannot say what is on disk: {waited}")
        return Durable(answer, not isinstance(marked, ReplyError) and waited[0] >= 1)

    async def close(self) -> None:
        """Closes every connection; what is under way fails."""
        await self._route.close()

    def _key_of(self, words: Words) -> bytes:
        """The key that decides where a command goes."""
        if len(words) < 2 or words[0] in _WITHOUT_KEY:
            return self._home
        key = words[3] if words[0] in ("EVAL", "EVALSHA") and len(words) > 3 else words[1]
        return key if isinstance(key, bytes) else str(key).encode()

    async def _call(
        self, key: bytes, commands: Sequence[Words], *, alone: bool = False, extra_s: float = 0.0
    ) -> list[Any]:
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s + extra_s
        try:
            return await self._route.call(key, commands, deadline_s, alone=alone)
        except LoginRefusedError as error:
            raise QueueUnavailableError(f"Redis refuses the login: {error}") from error
        except OSError as error:
            why = str(error) or type(error).__name__
            raise QueueUnavailableError(f"Redis does not answer: {why}") from error


def _route(settings: RedisSettings, size: int) -> Route:
    """The way to the Redis that the settings name."""
    url = parse(settings.redis_url)
    secret, of_sentinel = settings.redis_password, settings.redis_sentinel_password
    context = _tls(settings) if url.tls else None
    login = Login(
        username=settings.redis_username or url.username,
        password=None if secret is None else secret.get_secret_value(),
        database=url.database,
        context=context,
    )
    connect_s = settings.redis_timeout_s
    if url.form is Form.CLUSTER:
        return Cluster(url.addresses, login, connect_s, size)
    if url.form is Form.SENTINEL:
        password = None if of_sentinel is None else of_sentinel.get_secret_value()
        to_sentinel = Login(username=settings.redis_sentinel_username, password=password, context=context)
        return Sentinel(url.addresses, url.service, (to_sentinel, login), connect_s, size)
    return Single(url.addresses[0], login, connect_s, size)


def _tls(settings: RedisSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.redis_ca_file)
    if not settings.redis_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _unknown_script(answer: Any) -> bool:
    return isinstance(answer, ReplyError) and str(answer).startswith("NOSCRIPT")


def _shaped(words: Words, answer: Any) -> Any:
    shape = _SHAPES.get(words[0])
    return _checked(answer) if shape is None else shape(_checked(answer))


def _checked(answer: Any) -> Any:
    """The answer; an error raises the queue's own."""
    if not isinstance(answer, ReplyError):
        return answer
    said = str(answer)
    code = said.split(" ", 1)[0]
    if code == "OOM":
        raise QueueFullError("Redis is at its memory limit") from answer
    if code in _NO_ENTRY:
        raise QueueUnavailableError(f"Redis refuses the login: {said}") from answer
    if code in _CANNOT_SERVE:
        raise QueueUnavailableError(f"Redis cannot serve writes: {said}") from answer
    raise ResponseError(said) from answer
