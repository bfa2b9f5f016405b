"""Which Redis a call goes to: the one at an address, or the master that the sentinels name."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, cast

from hiredis import ReplyError

from taskqueue.node import Node
from taskqueue.redis_url import Address
from taskqueue.wire import Login, Socket, Words, connect

_DEMOTED = ("READONLY", "MASTERDOWN", "UNBLOCKED")


class Route(Protocol):
    """Takes calls to the Redis that holds a key."""

    async def call(
        self, key: bytes, commands: Sequence[Words], deadline_s: float, *, alone: bool = False
    ) -> list[Any]:
        """The answers to commands on one slot, errors among them as ReplyError; OSError without any.

        `alone`: on a socket of their own, for commands that block.
        """
        ...

    def slot(self, key: bytes) -> int:
        """Commands whose keys share a slot can go in one call."""
        ...

    async def close(self) -> None:
        """Ends every connection."""
        ...


class Single:
    """One Redis at one address. Its name is looked up anew for each socket."""

    def __init__(self, address: Address, login: Login, connect_s: float, size: int) -> None:
        self._node = Node(lambda deadline_s: connect(address, login, deadline_s), connect_s, size)

    async def call(
        self, key: bytes, commands: Sequence[Words], deadline_s: float, *, alone: bool = False
    ) -> list[Any]:
        node = self._node
        answers = await (node.call_alone if alone else node.call)(commands, deadline_s)
        if isinstance(answers[0], ReplyError) and str(answers[0]).startswith(_DEMOTED):
            node.forget()  # by this name or by the sentinels, the next socket may find its successor
        return answers

    def slot(self, key: bytes) -> int:
        return 0

    async def close(self) -> None:
        await self._node.close()


class Sentinel(Single):
    """The master of a service that sentinels watch; each new socket asks them which one it is.

    The sentinels cut the clients of a master that they demote, so no call stays with the old one.
    """

    def __init__(
        self,
        sentinels: Sequence[Address],
        service: str,
        logins: tuple[Login, Login],
        connect_s: float,
        size: int,
    ) -> None:
        self._sentinels = list(sentinels)
        self._service = service
        self._of_sentinel, self._of_master = logins
        self._node = Node(self._open, connect_s, size)

    async def _open(self, deadline_s: float) -> Socket:
        socket = await connect(await self._master(deadline_s), self._of_master, deadline_s)
        (role,) = await socket.call([("ROLE",)], deadline_s)
        if not isinstance(role, list) or cast(list[Any], role)[0] != b"master":
            socket.end(ConnectionError("closed"))
            raise ConnectionError(f"the sentinels still name a former master of {self._service}")
        return socket

    async def _master(self, deadline_s: float) -> Address:
        """Asks one sentinel after the other; the one that answered comes first the next time."""
        loop = asyncio.get_running_loop()
        said: list[str] = []
        for sentinel in list(self._sentinels):
            # A silent sentinel leaves time for the others.
            share_s = (deadline_s - loop.time()) / (len(self._sentinels) - len(said) + 1)
            try:
                found = await self._ask(sentinel, loop.time() + share_s)
            except (OSError, ReplyError) as error:
                said.append(f"{sentinel[0]}:{sentinel[1]}: {str(error) or type(error).__name__}")
                continue
            if found is not None:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return found
            said.append(f"{sentinel[0]}:{sentinel[1]}: it watches no service {self._service}")
        raise ConnectionError(f"no sentinel names a master: {'; '.join(said)}")

    async def _ask(self, sentinel: Address, deadline_s: float) -> Address | None:
        socket = await connect(sentinel, self._of_sentinel, deadline_s)
        try:
            question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            (answer,) = await socket.call([question], deadline_s)
        finally:
            socket.end(ConnectionError("closed"))
        if isinstance(answer, ReplyError):
            raise answer
        return None if answer is None else (answer[0].decode(), int(answer[1]))
