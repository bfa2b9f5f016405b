"""One socket to one Redis: commands out, answers back in the order they were asked for.

Calls share the socket: each is written at once, and its answer is known by its place in the order.
So a cancelled call harms no other (its answer is read and dropped), and there is no pool to wait for.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis
from hiredis import ReplyError

from taskqueue.redis_url import Address

Words = Sequence[Any]
_NO_ANSWER = object()
_pack = cast(Callable[[tuple[Any, ...]], bytes], cast(Any, hiredis).pack_command)


@dataclass(frozen=True, kw_only=True)
class Login:
    """What a new socket introduces itself with. `context` is for TLS, None for plain TCP."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    context: ssl.SSLContext | None = None

    def greeting(self) -> list[Words]:
        """The first commands of a connection."""
        hello: list[Any] = ["HELLO", 3]
        if self.password is not None:
            hello += ["AUTH", self.username or "default", self.password]
        return [hello, ["SELECT", self.database]] if self.database else [hello]


class LoginRefusedError(ConnectionError):
    """Redis answers, and does not let this client in."""


class _Call:
    """A written batch of commands whose answers come in."""

    __slots__ = ("answers", "count", "deadline_s", "done")

    def __init__(self, done: asyncio.Future[list[Any]], count: int, deadline_s: float) -> None:
        self.done = done
        self.count = count
        self.deadline_s = deadline_s
        self.answers: list[Any] = []


class Socket(asyncio.Protocol):
    """An open connection. Once `lost` it stays so, and every call under way fails with OSError."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NO_ANSWER)
        self._calls: deque[_Call] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.lost: OSError | None = None

    def call(self, commands: Sequence[Words], deadline_s: float) -> asyncio.Future[list[Any]]:
        """Writes the commands; their answers, errors among them as ReplyError, or OSError.

        An answer that is late (by the loop's clock) ends the connection: those after it would be late too.
        """
        packed = b"".join([_pack(tuple(words)) for words in commands])
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        if self.lost is not None or self._transport is None:
            done.set_exception(self.lost or ConnectionError("not connected"))
            return done
        self._calls.append(_Call(done, len(commands), deadline_s))
        self._transport.write(packed)
        if self._watch is None:
            self._watch = self._loop.call_at(deadline_s, self._look_at_the_time)
        return done

    def end(self, reason: OSError) -> None:
        """Closes at once; what is under way fails with `reason`."""
        if self.lost is None:
            self.lost = reason
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._transport is not None:
            self._transport.abort()
        while self._calls:
            done = self._calls.popleft().done
            if not done.done():
                done.set_exception(self.lost)

    def _look_at_the_time(self) -> None:
        """One timer a socket rather than one a call: answers come in order, so the oldest decides."""
        self._watch = None
        if not self._calls:
            return
        if self._calls[0].deadline_s <= self._loop.time():
            self.end(TimeoutError("no answer in time"))
        else:
            self._watch = self._loop.call_at(self._calls[0].deadline_s, self._look_at_the_time)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone
        # A peer that vanished is noticed also where a call blocks for long.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(ConnectionError(f"the connection was closed{f': {exc}' if exc else ''}"))

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _NO_ANSWER:
                if type(answer) is not hiredis.PushNotification:
                    self._take(answer)
        except hiredis.ProtocolError as error:
            self.end(ConnectionError(f"this is no Redis: {error}"))

    def _take(self, answer: Any) -> None:
        if not self._calls:
            self.end(ConnectionError("Redis answered what was not asked"))
            return
        call = self._calls[0]
        call.answers.append(answer)
        if len(call.answers) == call.count:
            self._calls.popleft()
            if not call.done.done():  # else its caller was cancelled
                call.done.set_result(call.answers)


async def connect(address: Address, login: Login, deadline_s: float) -> Socket:
    """A socket that has logged in; OSError (LoginRefusedError where Redis refuses) otherwise."""
    loop = asyncio.get_running_loop()
    host, port = address
    async with asyncio.timeout_at(deadline_s):
        _, opened = await loop.create_connection(Socket, host, port, ssl=login.context)
        try:
            for answer in await opened.call(login.greeting(), deadline_s):
                if isinstance(answer, ReplyError):
                    raise LoginRefusedError(str(answer))
        except BaseException:
            opened.end(ConnectionError("closed"))
            raise
    return opened
