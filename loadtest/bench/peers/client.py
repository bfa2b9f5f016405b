"""The client's half of a peer: takes orders on stdin, one JSON object a line, and answers each on stdout.

It imports nothing but the standard library, as it runs in each queue's own environment. Orders: `fill`
(count), `mails` (count), `one` (count), `batch` (count, size), `steady` (rate, count), `nap` (name, nap_s),
`pending`. Answers: `{"seconds": ...}` or `{"pending": ...}`.
"""

import asyncio
import inspect
import json
import sys
import time
from typing import Any, Protocol

FILL_SLICE = 1_000


class Client(Protocol):
    """What each peer offers. The methods may be coroutines: then all of them are.

    `task` is `nothing`, `timed` or `nap`; `args` are the positional arguments of that handler.
    """

    def one(self, task: str, *args: Any) -> Any:
        """One task, by one call that returns when the task is stored."""
        ...

    def many(self, task: str, rows: list[tuple[Any, ...]]) -> Any:
        """Several tasks, by the quickest way that the queue documents."""
        ...

    def pending(self) -> Any:
        """Tasks that are queued, running, or done and not yet acknowledged."""
        ...


async def _value(given: Any) -> Any:
    return await given if inspect.isawaitable(given) else given


async def _many(client: Client, count: int, size: int) -> None:
    for start in range(0, count, size):
        rows = [(number,) for number in range(start, min(count, start + size))]
        await _value(client.many("nothing", rows))


async def _one_by_one(client: Client, count: int) -> None:
    if inspect.iscoroutinefunction(client.one):
        for number in range(count):
            await client.one("nothing", number)
    else:
        for number in range(count):
            client.one("nothing", number)


def _mail(number: int) -> tuple[str, str, str]:
    return f"Order {number}", f"user{number}@load.example.com", "It has left us."


async def _steady(client: Client, rate: float, count: int) -> None:
    began = time.monotonic()
    for number in range(count):
        pause_s = began + number / rate - time.monotonic()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        await _value(client.one("timed", time.monotonic()))


async def _carry_out(client: Client, order: dict[str, Any]) -> dict[str, float]:
    if order["do"] == "pending":
        return {"pending": await _value(client.pending())}
    began = time.monotonic()
    match order["do"]:
        case "fill":
            await _many(client, order["count"], FILL_SLICE)
        case "mails":
            await _value(client.many("email", [_mail(number) for number in range(order["count"])]))
        case "batch":
            await _many(client, order["count"], order["size"])
        case "one":
            await _one_by_one(client, order["count"])
        case "steady":
            await _steady(client, order["rate"], order["count"])
        case "nap":
            await _value(client.one("nap", order["name"], order["nap_s"]))
        case other:
            raise ValueError(f"no such order: {other}")
    return {"seconds": time.monotonic() - began}


async def answer_orders(client: Client) -> None:
    """Answers until stdin ends."""
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await _carry_out(client, json.loads(line))), flush=True)
