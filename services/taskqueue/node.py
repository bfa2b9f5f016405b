"""One Redis: the socket that calls share, and those that blocking calls have to themselves."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from taskqueue.attempt import SharedAttempt
from taskqueue.wire import Socket, Words

Opener = Callable[[float], Awaitable[Socket]]
"""Opens a socket to the Redis meant, until a deadline of the loop's clock."""


class Node:
    """Calls to one Redis. Sockets are opened when first needed, and anew after each loss.

    `size` is the most sockets that calls of their own may hold at a time.
    """

    def __init__(self, open_socket: Opener, connect_s: float, size: int) -> None:
        self._open = open_socket
        self._connect_s = connect_s
        self._size = size
        self._shared: Socket | None = None
        self._connecting = SharedAttempt(self._connect)
        self._idle: list[Socket] = []
        self._alone: set[Socket] = set()
        self._held = 0

    async def call(self, commands: Sequence[Words], deadline_s: float) -> list[Any]:
        """The answers, errors among them as ReplyError; OSError where there was no answer."""
        socket = self._shared
        if socket is None or socket.lost is not None:
            socket = await self._connecting.result(deadline_s)
        return await socket.call(commands, deadline_s)

    async def call_alone(self, commands: Sequence[Words], deadline_s: float) -> list[Any]:
        """As `call`, on a socket that no other call waits behind: for commands that block."""
        if self._held >= self._size:
            raise ConnectionError(f"{self._size} blocking calls are under way already")
        self._held += 1
        socket = None
        try:
            while self._idle and (socket is None or socket.lost is not None):
                socket = self._idle.pop()
            if socket is None or socket.lost is not None:
                socket = await self._open(min(deadline_s, self._connect_deadline()))
            self._alone.add(socket)
            answers = await socket.call(commands, deadline_s)
        except BaseException:  # a cancelled call still blocks in Redis: nobody may wait behind it
            if socket is not None:
                socket.end(ConnectionError("closed"))
            raise
        else:
            self._idle.append(socket)
            return answers
        finally:
            self._held -= 1
            if socket is not None:
                self._alone.discard(socket)

    def forget(self) -> None:
        """Leaves the shared socket, and those idle: the next call looks for Redis anew."""
        left, self._idle = [*self._idle, *([self._shared] if self._shared else [])], []
        self._shared = None
        for socket in left:
            socket.end(ConnectionError("this Redis serves no writes any more"))

    async def close(self) -> None:
        """Ends every socket; what is under way fails."""
        await self._connecting.close()
        for socket in list(self._alone):
            socket.end(ConnectionError("closed"))
        self.forget()

    def _connect_deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._connect_s

    async def _connect(self) -> Socket:
        self._shared = await self._open(self._connect_deadline())
        return self._shared
