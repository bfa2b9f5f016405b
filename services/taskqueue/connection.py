"""Connections to Redis: the one policy on time-outs, retries and errors that the queue needs."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoScriptError, OutOfMemoryError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from taskqueue.errors import QueueFullError, QueueUnavailableError
from taskqueue.settings import RedisSettings

_CANNOT_SERVE = {"LOADING", "READONLY", "MASTERDOWN", "MISCONF", "NOAUTH", "CLUSTERDOWN", "TRYAGAIN"}


class Connection:
    """A pool of connections whose calls answer, or fail, within the settings' time-out.

    A call raises QueueUnavailableError or QueueFullError. It is never repeated here: the callers
    do that, as only they know which call is safe to repeat, and until when it is of use.
    """

    def __init__(self, settings: RedisSettings, *, timeout_s: float | None = None, size: int = 50) -> None:
        password = settings.redis_password
        # The client's annotations are partial; what it returns is typed by the queue's methods.
        self._redis: Any = cast(Any, Redis).from_url(
            settings.redis_url,
            password=None if password is None else password.get_secret_value(),
            socket_timeout=timeout_s or settings.redis_timeout_s,
            socket_connect_timeout=settings.redis_timeout_s,
            socket_keepalive=True,
            max_connections=size,
            retry=Retry(NoBackoff(), 0),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )

    async def command(self, *words: Any) -> Any:
        """One command and its answer, as the client gives it (bytes, int, list, dict, None)."""
        with _translated():
            return await self._redis.execute_command(*words)

    async def pipeline(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Several commands in one round trip, not as a transaction."""
        with _translated():
            async with self._redis.pipeline(transaction=False) as pipe:
                for words in commands:
                    pipe.execute_command(*words)
                return await pipe.execute()

    async def script(self, sha: str, source: bytes, key: str, args: Iterable[Any]) -> Any:
        """Runs a script by its hash, and loads it where Redis does not know it (again)."""
        with _translated():
            try:
                return await self._redis.execute_command("EVALSHA", sha, 1, key, *args)
            except NoScriptError:  # the first call, or a restarted Redis
                return await self._redis.execute_command("EVAL", source, 1, key, *args)

    async def close(self) -> None:
        """Closes every connection; what is under way fails."""
        await self._redis.aclose()


@contextmanager
def _translated() -> Generator[None]:
    """Turns the client's errors into the queue's own."""
    try:
        yield
    except OutOfMemoryError as error:
        raise QueueFullError("Redis is at its memory limit") from error
    except AuthenticationError as error:
        raise QueueUnavailableError(f"Redis refuses the login: {error}") from error
    except ResponseError as error:
        if str(error).startswith("OOM"):
            raise QueueFullError("Redis is at its memory limit") from error
        if str(error).split(" ", 1)[0] in _CANNOT_SERVE:
            raise QueueUnavailableError(f"Redis cannot serve writes: {error}") from error
        raise
    except (RedisError, OSError, TimeoutError) as error:
        raise QueueUnavailableError(f"Redis does not answer: {error}") from error
