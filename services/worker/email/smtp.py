"""Delivery by SMTP over pooled connections, and what each answer of the server means."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPNotSupported,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from worker.email.message import Envelope
from worker.email.settings import EmailSettings
from worker.errors import PermanentError, RetryError

REFUSED_LOGIN_PAUSE_S = 60.0
"""A wrong password is not the mail's fault, and trying it often locks accounts."""


class SmtpTransport:
    """Sends each mail over one of at most `smtp_pool_size` kept connections."""

    def __init__(self, settings: EmailSettings) -> None:
        self.sender = settings.email_sender
        self._settings = settings
        self._places = asyncio.Semaphore(settings.smtp_pool_size)
        self._kept: list[SMTP] = []
        self._tls = _tls_context(settings)

    async def deliver(self, envelope: Envelope, ensure_lease: Callable[[], None]) -> dict[str, str]:
        """4xx and connection trouble raise RetryError, 5xx PermanentError."""
        try:
            async with self._connection() as (client, kept):
                try:
                    await self._address(client, envelope)
                except (SMTPServerDisconnected, OSError):
                    if not kept:
                        raise
                    # The server had closed the idle connection; nothing was sent: once more on a new one.
                    client.close()
                    await self._open(client)
                    await self._address(client, envelope)
                ensure_lease()
                answer = await client.data(envelope.content)
        except SMTPAuthenticationError as error:
            raise RetryError(
                f"login refused: {error.message}", REFUSED_LOGIN_PAUSE_S, counts=False
            ) from error
        except SMTPResponseException as error:
            text = f"{error.code} {error.message}"
            raise (PermanentError(text) if error.code >= 500 else RetryError(text)) from error
        except SMTPNotSupported as error:
            raise PermanentError(str(error)) from error
        except (SMTPException, OSError, TimeoutError) as error:
            raise RetryError(f"{type(error).__name__}: {error}") from error
        return {"transport": "smtp", "response": f"{answer.code} {answer.message}"}

    async def close(self) -> None:
        """Says goodbye on every kept connection."""
        kept, self._kept = self._kept, []
        await asyncio.gather(*(client.quit() for client in kept), return_exceptions=True)

    @staticmethod
    async def _address(client: SMTP, envelope: Envelope) -> None:
        options = ["SMTPUTF8", "BODY=8BITMIME"] if envelope.utf8 else []
        encoding = "utf-8" if envelope.utf8 else "ascii"
        await client.mail(envelope.sender, options=options, encoding=encoding)
        await client.rcpt(envelope.recipient, encoding=encoding)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[tuple[SMTP, bool]]:
        """An exclusive connection and whether it was in use before; kept if the delivery succeeds."""
        async with self._places:
            kept = bool(self._kept)
            client = self._kept.pop() if kept else self._client()
            try:
                if not kept:
                    await self._open(client)
                yield client, kept
            except BaseException:
                client.close()
                raise
            self._kept.append(client)

    def _client(self) -> SMTP:
        s = self._settings
        return SMTP(
            hostname=s.smtp_host,
            port=s.smtp_port,
            timeout=s.smtp_timeout_s,
            use_tls=s.smtp_tls == "implicit",
            start_tls=s.smtp_tls == "starttls",
            tls_context=self._tls,
        )

    async def _open(self, client: SMTP) -> None:
        await client.connect()
        if self._settings.smtp_username:
            await client.login(self._settings.smtp_username, self._settings.smtp_password.get_secret_value())


def _tls_context(settings: EmailSettings) -> ssl.SSLContext | None:
    if settings.smtp_tls == "none":
        return None
    context = ssl.create_default_context()
    if not settings.smtp_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
