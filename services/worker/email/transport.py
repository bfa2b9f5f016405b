"""The two ways a mail can go: simulated, or by SMTP."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from worker.email.message import Envelope
from worker.email.settings import EmailSettings
from worker.email.smtp import SmtpTransport

SIMULATED_S = (1.0, 3.0)
"""How long a simulated delivery takes, as in the system this replaces."""


class Transport(Protocol):
    """Carries one mail. `ensure_lease` is called right before the step that has an effect."""

    sender: str

    async def deliver(self, envelope: Envelope, ensure_lease: Callable[[], None]) -> dict[str, str]: ...


class SimulateTransport:
    """Waits 1 to 3 s and sends nothing; its result says so."""

    def __init__(self, sender: str) -> None:
        self.sender = sender

    async def deliver(self, envelope: Envelope, ensure_lease: Callable[[], None]) -> dict[str, str]:
        await asyncio.sleep(random.uniform(*SIMULATED_S))  # noqa: S311
        ensure_lease()
        return {"transport": "simulate", "response": "simulated: nothing was sent"}


@asynccontextmanager
async def open_transport(settings: EmailSettings) -> AsyncGenerator[Transport]:
    """The transport that the settings name, closed at the end."""
    if settings.email_transport == "simulate":
        yield SimulateTransport(settings.email_sender)
        return
    transport = SmtpTransport(settings)
    try:
        yield transport
    finally:
        await transport.close()
