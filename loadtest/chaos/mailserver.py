"""A mail server that fails at random and keeps a ledger: `python -m loadtest.chaos.mailserver`.

A process of its own. Plain SMTP on the loopback; about what a worker needs and no more.
"""

import argparse
import asyncio
import contextlib
import json
import re
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from loadtest.chaos.fates import Fate, Fates, Treatment
from loadtest.chaos.record import Send

FLUSH_S = 0.2
END = b"\r\n.\r\n"
_ADDRESS = re.compile(rb"<([^@>]*)@", re.ASCII)
_MESSAGE_ID = re.compile(rb"^Message-ID:\s*<([^@>]+)@", re.IGNORECASE | re.MULTILINE)


class Ledger:
    """Appends each transaction that ended as a line; written out every 0.2 s and at the end."""

    def __init__(self, path: Path, fates: Fates) -> None:
        self._file = path.open("ab")
        self._fates = fates
        self._attempts: defaultdict[str, int] = defaultdict(int)

    def treatment(self, key: str) -> Treatment:
        """For the next transaction to this recipient."""
        attempt = self._attempts[key]
        self._attempts[key] += 1
        return self._fates.treatment(key, attempt)

    def add(self, send: Send) -> None:
        self._file.write(msgspec.json.encode(send) + b"\n")

    async def keep_flushed(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self._file.flush()

    def close(self) -> None:
        self._file.close()


class Session(asyncio.Protocol):
    """One connection. A client that sends its next command before it was answered is not served."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._buffer = bytearray()
        self._in_mail = False
        self._send: Send | None = None
        self._treatment = Treatment(Fate.TAKEN)
        self._port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has no such base
        self._port = transport.get_extra_info("peername")[1]
        self._say("220 chaos")

    def connection_lost(self, exc: Exception | None) -> None:
        self._close_transaction()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._in_mail:
            self._mail()
            return
        while not self._in_mail and (end := self._buffer.find(b"\r\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            self._command(line)

    def _command(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"EHLO":
            self._say("250-chaos\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 10485760")
        elif verb == b"MAIL":
            self._close_transaction()
            self._send = Send(key="", worker=_local_part(line), port=self._port, begin=time.time())
            self._say("250 OK")
        elif verb == b"RCPT" and self._send is not None:
            self._recipient(_local_part(line))
        elif verb == b"DATA" and self._send is not None:
            self._note(data=time.time())
            self._in_mail = True
            self._say("354 go on")
        elif verb == b"QUIT":
            self._say("221 bye")
            self._transport.close()
        elif verb in (b"RSET", b"NOOP", b"HELO"):
            self._close_transaction()
            self._say("250 OK")
        else:
            self._say("500 not understood")

    def _recipient(self, key: str) -> None:
        self._treatment = self._ledger.treatment(key)
        fate = self._treatment.fate
        self._note(key=key, fate=fate.value + (" stall" if self._treatment.stall_s else ""))
        if fate is Fate.DEFER_RCPT:
            self._final(450, "mailbox busy")
        elif fate is Fate.REJECT_RCPT:
            self._final(550, "no such mailbox")
        else:
            self._say("250 OK")

    def _mail(self) -> None:
        if self._treatment.fate is Fate.DROP_BEFORE:
            self._transport.abort()
            return
        if not self._buffer.endswith(END):  # nothing follows the end: clients wait for the answer
            return
        self._in_mail = False
        content = bytes(self._buffer)
        self._buffer.clear()
        found = _MESSAGE_ID.search(content)
        taken = self._treatment.fate in (Fate.TAKEN, Fate.DROP_AFTER)
        self._note(end=time.time(), taken=taken, task_id=found[1].decode() if found else "")
        if self._treatment.stall_s:
            asyncio.get_running_loop().call_later(self._treatment.stall_s, self._answer_mail)
        else:
            self._answer_mail()

    def _answer_mail(self) -> None:
        if self._send is None:  # the client went away meanwhile
            return
        match self._treatment.fate:
            case Fate.DROP_AFTER:
                self._transport.abort()
            case Fate.DEFER_DATA:
                self._final(451, "try again")
            case Fate.REJECT_DATA:
                self._final(554, "refused")
            case _:
                self._final(250, "taken")

    def _final(self, code: int, text: str) -> None:
        self._say(f"{code} {text}")
        self._note(answered=time.time(), code=code)
        self._close_transaction()

    def _say(self, line: str) -> None:
        self._transport.write(line.encode() + b"\r\n")

    def _note(self, **fields: object) -> None:
        assert self._send is not None
        self._send = msgspec.structs.replace(self._send, **fields)

    def _close_transaction(self) -> None:
        if self._send is not None:
            self._ledger.add(msgspec.structs.replace(self._send, closed=time.time()))
            self._send = None


def _local_part(line: bytes) -> str:
    found = _ADDRESS.search(line)
    return found[1].decode() if found else ""


async def _serve(port: int, ledger: Ledger) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    flushing = asyncio.create_task(ledger.keep_flushed())
    server = await loop.create_server(lambda: Session(ledger), "127.0.0.1", port, backlog=512)
    print(json.dumps({"event": "started", "port": port}), flush=True)
    await stop.wait()
    server.close()
    flushing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await flushing


def main() -> int:
    """Exit status 0 after SIGTERM, with the ledger complete."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.chaos.mailserver", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True, help="JSON lines, appended")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--percent", type=json.loads, required=True, help="JSON: fate -> how many in 100")
    parser.add_argument("--failing-attempts", type=int, required=True)
    given = parser.parse_args()
    ledger = Ledger(given.ledger, Fates(given.seed, given.percent, given.failing_attempts))
    try:
        uvloop.run(_serve(given.port, ledger))
    finally:
        ledger.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
