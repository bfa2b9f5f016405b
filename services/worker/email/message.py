"""Builds the message of an e-mail task; the same task gives the same message on every attempt."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

from taskqueue.model import MICROSECOND
from taskqueue.payloads.email import EmailPayload


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message as bytes with its SMTP envelope. `utf8`: an address needs SMTPUTF8 (RFC 6531)."""

    sender: str
    recipient: str
    message_id: str
    content: bytes
    utf8: bool


def build(payload: EmailPayload, sender: str, task_id: str, created_us: int) -> Envelope:
    """The Message-ID comes from the task id, so that servers and readers can tell a repeat."""
    utf8 = not payload.recipient.isascii()
    message_id = f"<{task_id}@{sender.rpartition('@')[2]}>"
    message = EmailMessage(policy=SMTPUTF8 if utf8 else SMTP)
    message["From"] = sender
    message["To"] = payload.recipient
    message["Subject"] = payload.subject
    message["Date"] = datetime.fromtimestamp(created_us / MICROSECOND, UTC)
    message["Message-ID"] = message_id
    message.set_content(payload.content)
    return Envelope(
        sender=sender,
        recipient=payload.recipient,
        message_id=message_id,
        content=message.as_bytes(),
        utf8=utf8,
    )
