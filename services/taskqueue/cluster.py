"""A Redis Cluster: which node holds a slot, and what to do when it is said to be elsewhere.

Own code rather than redis-py's RedisCluster, which sends ASKING on one pooled connection and the
command on another, closes connections that are in use at every fifth MOVED, and cannot send two
commands to a slot's node on one connection.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hiredis import ReplyError
from redis.crc import key_slot

from taskqueue.attempt import SharedAttempt
from taskqueue.node import Node
from taskqueue.redis_url import Address
from taskqueue.wire import Login, Words, connect

MOST_REDIRECTIONS = 5
_SCRIPTS = ("EVALSHA", "EVAL")


@dataclass(frozen=True, slots=True)
class Redirection:
    """Where a node says that a slot is: for good, or (`ask`) for this one command."""

    ask: bool
    slot: int
    address: Address


def redirection(answer: object, asked: Address) -> Redirection | None:
    """What a MOVED or ASK error says; None for any other answer. No host means the one asked."""
    words = str(answer).split(" ") if isinstance(answer, ReplyError) else []
    if len(words) != 3 or words[0] not in ("MOVED", "ASK"):
        return None
    host, _, port = words[2].rpartition(":")
    return Redirection(words[0] == "ASK", int(words[1]), (host.strip("[]") or asked[0], int(port)))


class Cluster:
    """Calls to the nodes of a cluster. What it says of its slots is kept until a node fails.

    A redirected command was not run, so sending it where it belongs repeats nothing. A script is
    not sent after an ASK: while its slot moves, the keys that it computes are on both sides.
    """

    def __init__(self, seeds: Sequence[Address], login: Login, connect_s: float, size: int) -> None:
        self._seeds = tuple(seeds)
        self._login = login
        self._connect_s = connect_s
        self._size = size
        self._nodes: dict[Address, Node] = {}
        self._ranges: list[tuple[int, int, Address]] = []
        self._owners: dict[int, Address] = {}
        self._slots: dict[bytes, int] = {}
        self._learning = SharedAttempt(self._ask_all)

    def slot(self, key: bytes) -> int:
        """By the key's hash tag; those of queues are few, and kept."""
        begin = key.find(b"{") + 1
        end = key.find(b"}", begin)
        if not begin or end <= begin:
            return key_slot(key)
        tag = key[begin:end]
        if tag not in self._slots:
            self._slots[tag] = key_slot(tag)
        return self._slots[tag]

    async def call(
        self, key: bytes, commands: Sequence[Words], deadline_s: float, *, alone: bool = False
    ) -> list[Any]:
        slot = self.slot(key)
        answers = await self._call_once(slot, commands, deadline_s, alone)
        for _ in range(MOST_REDIRECTIONS):
            owner = self._owners.get(slot)
            found = [redirection(answer, owner or self._seeds[0]) for answer in answers]
            if not any(found):
                break
            await self._follow(slot, commands, answers, found, deadline_s, alone)
            if all(each is None or each.ask for each in found):
                break
        return answers

    async def close(self) -> None:
        await self._learning.close()
        for node in self._nodes.values():
            await node.close()

    async def _call_once(
        self, slot: int, commands: Sequence[Words], deadline_s: float, alone: bool
    ) -> list[Any]:
        owner = self._owners.get(slot)
        if owner is None:
            owner = await self._find(slot, deadline_s)
        node = self._at(owner)
        try:
            return await (node.call_alone if alone else node.call)(commands, deadline_s)
        except OSError:  # a replica may be the master by now: the next call asks a node that answers
            self._ranges, self._owners = [], {}
            raise

    async def _follow(
        self,
        slot: int,
        commands: Sequence[Words],
        answers: list[Any],
        found: Sequence[Redirection | None],
        deadline_s: float,
        alone: bool,
    ) -> None:
        """Sends what was redirected to where it belongs, and puts the answers in their places."""
        moved = [number for number, each in enumerate(found) if each is not None and not each.ask]
        for number in moved:
            each = found[number]
            assert each is not None
            self._owners[slot] = each.address
        if moved:
            # What has a socket to itself belongs together: WAITAOF waits for the writes of its own socket.
            again = list(range(len(commands))) if alone else moved
            repeated = await self._call_once(slot, [commands[i] for i in again], deadline_s, alone)
            for number, answer in zip(again, repeated, strict=True):
                answers[number] = answer
        for number, each in enumerate(found):
            if each is not None and each.ask and commands[number][0] not in _SCRIPTS:
                asked = [("ASKING",), commands[number]]
                answers[number] = (await self._at(each.address).call(asked, deadline_s))[1]

    def _at(self, address: Address) -> Node:
        """The node at an address that the cluster named."""
        if address not in self._nodes:
            self._nodes[address] = Node(
                lambda deadline_s: connect(address, self._login, deadline_s), self._connect_s, self._size
            )
        return self._nodes[address]

    async def _find(self, slot: int, deadline_s: float) -> Address:
        if not self._ranges:
            await self._learning.result(deadline_s)
        for first, last, address in self._ranges:
            if first <= slot <= last:
                self._owners[slot] = address
                return address
        self._ranges = []
        raise ConnectionError(f"no node of the cluster holds slot {slot}")

    async def _ask_all(self) -> None:
        """Asks the nodes known, then the seeds, until one answers; a silent one leaves the others time."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + self._connect_s
        asked = list(dict.fromkeys([*self._nodes, *self._seeds]))
        said: list[str] = []
        for number, address in enumerate(asked):
            share_s = (end_s - loop.time()) / (len(asked) - number)
            try:
                (answer,) = await self._at(address).call([("CLUSTER", "SLOTS")], loop.time() + share_s)
            except OSError as error:
                answer = error
            if not isinstance(answer, Exception):
                self._ranges = [_range(each, address) for each in answer]
                return
            said.append(f"{address[0]}:{address[1]}: {str(answer) or type(answer).__name__}")
        raise ConnectionError(f"no node of the cluster answers: {'; '.join(said)}")


def _range(entry: list[Any], asked: Address) -> tuple[int, int, Address]:
    """First slot, last slot, master. A node that does not know its own name is where it was asked."""
    first, last, master = entry[0], entry[1], entry[2]
    host = (master[0] or b"").decode()
    return int(first), int(last), (host if host not in ("", "?") else asked[0], int(master[1]))
