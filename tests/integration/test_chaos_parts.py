"""The mail server that fails and the proxy that cuts, each as the process that chaos uses."""

import asyncio
import json
import signal
import smtplib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadtest.chaos.fates import Fate
from loadtest.chaos.processes import Place, free_ports, listening, python
from loadtest.chaos.record import Send, read_sends
from tests.fixtures.processes import RedisServer

Start = Callable[[str, list[str]], Place]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    places: list[Place] = []

    def start(module: str, words: list[str]) -> Place:
        places.append(Place(module, python(module, *words), {}, tmp_path / f"{module}.log"))
        places[-1].start()
        return places[-1]

    yield start
    for place in places:
        place.end()


async def delivered(start: Start, ledger: Path, percent: dict[str, float]) -> tuple[str, Send]:
    """What the sender of one mail is told, and the ledger's line."""
    (port,) = free_ports(1)
    words = ["--port", str(port), "--ledger", str(ledger), "--seed", "1", "--failing-attempts", "1"]
    server = start("loadtest.chaos.mailserver", [*words, "--percent", json.dumps(percent)])
    await listening(server, port, hear=b"220")
    answer = await asyncio.to_thread(send_one, port)
    server.signal(signal.SIGTERM)
    assert await server.ended(10)
    (line,) = read_sends(ledger)
    return answer, line


def send_one(port: int) -> str:
    mail = "Message-ID: <task-7@w0>\r\nSubject: Hello\r\n\r\nA line.\r\n"
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            client.sendmail("w0.3@chaos.example.com", ["5.0@chaos.example.com"], mail)
    except smtplib.SMTPRecipientsRefused as error:
        return str(error.recipients["5.0@chaos.example.com"][0])
    except smtplib.SMTPServerDisconnected:
        return "dropped"
    except smtplib.SMTPResponseException as error:
        return str(error.smtp_code)
    return "250"


@pytest.mark.parametrize(
    ("fate", "told", "taken"),
    [
        (Fate.TAKEN, "250", True),
        (Fate.DEFER_RCPT, "450", False),
        (Fate.DEFER_DATA, "451", False),
        (Fate.REJECT_RCPT, "550", False),
        (Fate.REJECT_DATA, "554", False),
        (Fate.DROP_BEFORE, "dropped", False),
        (Fate.DROP_AFTER, "dropped", True),
    ],
)
async def test_the_mail_server_does_what_was_drawn_and_enters_it(
    start: Start, tmp_path: Path, fate: Fate, told: str, taken: bool
) -> None:
    answer, line = await delivered(start, tmp_path / "ledger", {fate.value: 100.0})
    assert (answer, line.taken, line.fate) == (told, taken, fate.value)
    assert (line.key, line.worker) == ("5.0", "w0.3")
    assert line.task_id == ("task-7" if line.end else "")
    assert line.begin <= line.closed
    if taken:
        assert line.data is not None
        assert line.end is not None
        assert line.begin <= line.data <= line.end <= line.closed


async def test_a_stalled_answer_comes_late_and_the_mail_counts_from_its_end(
    start: Start, tmp_path: Path
) -> None:
    answer, line = await delivered(start, tmp_path / "ledger", {"stall": 100.0})
    assert answer == "250"
    assert line.end is not None
    assert line.answered is not None
    assert line.answered - line.end >= 0.3


class Wire:
    """A connection through the proxy to Redis that sends raw commands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, command: bytes) -> bytes:
        """The first line of the reply; nothing when the connection was cut."""
        self._writer.write(command + b"\r\n")
        try:
            return await asyncio.wait_for(self._reader.readline(), 5)
        except ConnectionError:
            return b""

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def proxied(start: Start, redis: RedisServer) -> tuple[Place, int]:
    """The proxy and its port for the client w0."""
    (port,) = free_ports(1)
    words = ["--redis-port", str(redis.port), "--ports", json.dumps({"w0": port})]
    proxy = start("loadtest.chaos.proxy", words)
    await listening(proxy, port, b"PING\r\n", b"+PONG")
    return proxy, port


async def wire(port: int) -> Wire:
    return Wire(*await asyncio.open_connection("127.0.0.1", port))


INCREMENT = b"EVAL \"return redis.call('INCR', 'n')\" 0"


async def order(proxy: Place, **words: str | float) -> None:
    """Tells the proxy, and gives it time to read that before what is sent next."""
    proxy.tell(json.dumps({**words, "target": "w0"}).encode())
    await asyncio.sleep(0.2)


async def test_a_request_that_is_cut_never_takes_effect(
    proxied: tuple[Place, int], redis: RedisServer
) -> None:
    proxy, port = proxied
    line = await wire(port)
    await order(proxy, do="cut", side="request", after_bytes=10)
    assert await line.say(b"PING") == b"+PONG\r\n", "only a script call is cut"
    assert await line.say(INCREMENT) == b""
    assert redis.cli("get", "n") == ""
    again = await wire(port)
    assert await again.say(INCREMENT) == b":1\r\n", "one cut is one connection"
    again.close()


async def test_a_reply_that_is_cut_belongs_to_a_call_that_took_effect(
    proxied: tuple[Place, int], redis: RedisServer
) -> None:
    proxy, port = proxied
    line = await wire(port)
    await order(proxy, do="cut", side="reply", after_bytes=1)
    assert await line.say(INCREMENT) == b":"
    assert redis.cli("get", "n") == "1"


async def test_a_stalled_line_passes_nothing_and_then_everything(
    proxied: tuple[Place, int], redis: RedisServer
) -> None:
    proxy, port = proxied
    line = await wire(port)
    await order(proxy, do="stall", seconds=1.0)
    began = asyncio.get_running_loop().time()
    answer = asyncio.create_task(line.say(INCREMENT))
    await asyncio.sleep(0.3)
    assert redis.cli("get", "n") == ""
    assert await answer == b":1\r\n"
    assert asyncio.get_running_loop().time() - began > 0.5
    line.close()
