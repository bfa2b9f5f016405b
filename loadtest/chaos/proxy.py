"""TCP between each service and Redis, to be cut in mid-command or stalled: `python -m loadtest.chaos.proxy`.

A process of its own with a port for each client, so that a fault has one victim. It is told what to do
by JSON lines on stdin, and tells on stdout when it was done:
`{"do":"cut","target":"w0","side":"reply","after_bytes":3}` -> `{"event":"cut","target":"w0","at":...}`
`{"do":"stall","target":"w0","seconds":2.5}` -> `{"event":"thawed","target":"w0","at":...}`
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from typing import Any, cast

import uvloop

_SCRIPT_CALLS = (b"EVAL", b"FCALL")
"""Changes of state are script calls; a cut strikes one of those rather than a probe or an idle wait."""


def tell(event: str, target: str) -> None:
    """A line on stdout."""
    print(json.dumps({"event": event, "target": target, "at": time.time()}), flush=True)


class Line:
    """All connections of one client: what is to be cut next, and whether nothing passes."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.pairs: set[Pair] = set()
        self.stalled = False
        self._cuts: list[tuple[str, int]] = []

    def cut_next(self, side: str, after_bytes: int) -> None:
        self._cuts.append((side, after_bytes))

    def cut_now(self, side: str) -> int | None:
        """How many bytes of this request or reply still pass, if it is the one to cut."""
        for index, (wanted, after_bytes) in enumerate(self._cuts):
            if wanted == side:
                del self._cuts[index]
                return after_bytes
        return None

    async def stall(self, seconds: float) -> None:
        """Nothing passes and no connection closes; what was sent meanwhile passes afterwards."""
        self.stalled = True
        for pair in self.pairs:
            pair.pause()
        await asyncio.sleep(seconds)
        self.stalled = False
        for pair in self.pairs:
            pair.resume()
        tell("thawed", self.target)


class Pair:
    """A client's connection and the one to Redis that carries it on."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.ends: dict[str, asyncio.Transport] = {}
        self._waiting = bytearray()
        self._script_call = False
        self._reading = True
        self._closed = False
        line.pairs.add(self)

    def opened(self, side: str, transport: asyncio.Transport) -> None:
        self.ends[side] = transport
        if self._closed:  # the client left while the other side was being opened
            transport.close()
            return
        if self._line.stalled:
            transport.pause_reading()
            self._reading = False
        if side == "reply":
            transport.write(bytes(self._waiting))
            self._waiting.clear()

    def pause(self) -> None:
        self._set_reading(False)

    def resume(self) -> None:
        self._set_reading(True)

    def _set_reading(self, reading: bool) -> None:
        if reading is not self._reading:
            self._reading = reading
            for transport in self.ends.values():
                if not transport.is_closing():
                    transport.resume_reading() if reading else transport.pause_reading()

    def passed(self, side: str, data: bytes) -> None:
        """Carries on what came from the client (`request`) or from Redis (`reply`)."""
        if side == "request":
            self._script_call = any(call in data for call in _SCRIPT_CALLS)
        keep = self._line.cut_now(side) if self._script_call else None
        other = self.ends.get("reply" if side == "request" else "request")
        if keep is not None:
            data = data[: min(keep, len(data) - 1)]
        if other is not None:
            other.write(data)
        elif side == "request":
            self._waiting += data
        if keep is not None:
            tell("cut", self._line.target)
            self.close()

    def close(self) -> None:
        """Ends both connections once what was to pass has been handed on."""
        self._closed = True
        self._line.pairs.discard(self)
        for transport in self.ends.values():
            transport.close()


class End(asyncio.Protocol):
    """One side of a pair."""

    def __init__(self, pair: Pair, side: str) -> None:
        self._pair, self._side = pair, side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pair.opened(self._side, cast("asyncio.Transport", transport))  # uvloop's has no such base

    def data_received(self, data: bytes) -> None:
        self._pair.passed(self._side, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pair.close()


class Client(End):
    """The side of the client; it opens the other."""

    def __init__(self, line: Line, redis_port: int) -> None:
        super().__init__(Pair(line), "request")
        self._redis_port = redis_port
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.create_task(self._open())

    async def _open(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: End(self._pair, "reply"), "127.0.0.1", self._redis_port
            )
        except OSError:  # Redis is away: so is this connection
            self._pair.close()


async def _obey(lines: dict[str, Line]) -> None:
    """Does what stdin says, until it ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    stalls: set[asyncio.Task[None]] = set()
    while text := await reader.readline():
        order: dict[str, Any] = json.loads(text)
        line = lines[order["target"]]
        if order["do"] == "cut":
            line.cut_next(order["side"], order["after_bytes"])
        else:
            stalls.add(asyncio.create_task(line.stall(order["seconds"])))


async def _serve(redis_port: int, ports: dict[str, int]) -> None:
    loop = asyncio.get_running_loop()
    lines = {target: Line(target) for target in ports}
    for target, port in ports.items():
        line = lines[target]
        await loop.create_server(lambda line=line: Client(line, redis_port), "127.0.0.1", port)
    tell("started", "")
    obeying = asyncio.create_task(_obey(lines))
    loop.add_signal_handler(signal.SIGTERM, obeying.cancel)
    await asyncio.wait([obeying])


def main() -> int:
    """Exit status 0 after SIGTERM or the end of stdin."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.chaos.proxy", description=__doc__)
    parser.add_argument("--redis-port", type=int, required=True)
    parser.add_argument("--ports", type=json.loads, required=True, help="JSON: client -> its port")
    given = parser.parse_args()
    uvloop.run(_serve(given.redis_port, given.ports))
    return 0


if __name__ == "__main__":
    sys.exit(main())
