"""A synchronous producer: puts tasks into the queue straight from Python code that has no event loop."""

import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, cast

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from taskqueue import scripts
from taskqueue.errors import IdempotencyConflictError, QueueFullError, QueueUnavailableError
from taskqueue.ids import DEFAULT_QUEUE, new_id
from taskqueue.model import Extra, NewTask, Options, Priority, Receipt
from taskqueue.queue import receipt, slices, wire_tasks

_PAUSE_S = 0.05
_encode = msgspec.json.Encoder().encode


class Producer:
    """Enqueues tasks by one connection, which threads may share.

    Payloads are not checked here: a worker fails a task whose payload does not fit its type. A call
    whose answer was lost is repeated under the same ids until `patience_s` has passed, so nothing is
    stored twice. `url` is redis:// or rediss://; Sentinel and Cluster are for the asynchronous client.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379/0",
        *,
        password: str | None = None,
        queue: str = DEFAULT_QUEUE,
        timeout_s: float = 2.0,
        patience_s: float = 5.0,
    ) -> None:
        self._queue = queue
        self._prefix = f"tq:{{{queue}}}:".encode()
        self._patience_s = patience_s
        self._lock = threading.Lock()
        client: Any = redis.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
            url,
            password=password,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._pool = client.connection_pool
        self._connection: Any = self._pool.make_connection()

    def enqueue(
        self,
        kind: str,
        data: Any,
        *,
        delay_s: float = 0.0,
        priority: Priority = Priority.NORMAL,
        max_attempts: int | None = None,
    ) -> str:
        """Stores one task of type `kind` and returns its id once Redis has it.

        `data` is what JSON can hold, or a msgspec Struct. Raises QueueFullError or
        QueueUnavailableError (then whether it is stored is unknown).
        """
        extra = None
        if delay_s or max_attempts or priority is not Priority.NORMAL:
            extra = Extra(
                priority=None if priority is Priority.NORMAL else priority.level,
                delay_us=int(delay_s * 1_000_000) or None,
                options=_encode(Options(max_attempts=max_attempts)).decode() if max_attempts else None,
            )
        task = NewTask(new_id(self._queue), kind, _encode(data), extra)
        self._send([task])
        return task.id

    def enqueue_many(self, kind: str, payloads: Iterable[Any]) -> list[str]:
        """As `enqueue`, for many of one type, 200 a call; returns their ids in order.

        After an error those of the slices before are stored.
        """
        ids: list[str] = []
        parts = slices(NewTask(new_id(self._queue), kind, _encode(data)) for data in payloads)
        part = next(parts, None)
        while part is not None:
            coming: list[list[NewTask]] = []

            def make(made: list[list[NewTask]] = coming) -> None:
                made.extend(islice(parts, 1 - len(made)))

            self._send(part, make)  # the next part is made while Redis stores this one
            ids += [task.id for task in part]
            part = coming[0] if coming else None
        return ids

    def close(self) -> None:
        """Closes the connection; a later call opens it anew."""
        with self._lock:
            self._connection.disconnect()

    def __enter__(self) -> "Producer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(
        self, part: list[NewTask], meanwhile: Callable[[], None] = lambda: None
    ) -> list[Receipt | IdempotencyConflictError]:
        wire = wire_tasks(part)
        give_up_at = time.monotonic() + self._patience_s
        with self._lock:
            while True:
                try:
                    answers = self._call(wire, meanwhile)
                    return [receipt(task, answer) for task, answer in zip(part, answers, strict=True)]
                except ResponseError as error:
                    if str(error).startswith("OOM") or "maxmemory" in str(error):
                        raise QueueFullError("Redis is at its memory limit") from error
                    raise
                except (RedisError, OSError) as error:
                    self._connection.disconnect()
                    if time.monotonic() + _PAUSE_S >= give_up_at:
                        raise QueueUnavailableError(f"Redis does not answer: {error}") from error
                    time.sleep(_PAUSE_S)

    def _call(self, wire: bytes, meanwhile: Callable[[], None]) -> list[Any]:
        connection = self._connection
        script = scripts.ENQUEUE
        try:
            connection.send_command("EVALSHA", script.sha, 1, self._prefix, b"", wire)
            meanwhile()
            return cast(list[Any], connection.read_response())
        except NoScriptError:
            connection.send_command("EVAL", script.source, 1, self._prefix, b"", wire)
            return cast(list[Any], connection.read_response())
