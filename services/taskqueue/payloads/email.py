"""The payload of an e-mail task, and every rule a client can break."""

import re

import msgspec

from taskqueue.errors import FieldError
from taskqueue.payloads.address import address_fault, is_plain

MAX_SUBJECT_CHARS = 998
"""RFC 5322, 2.1.1: no line of a message is longer, and the subject is one line."""
MAX_RECIPIENT_CHARS = 320
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class EmailPayload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One plain-text e-mail to one recipient."""

    subject: str
    recipient: str
    content: str

    def faults(self) -> list[FieldError]:
        """All that is wrong beyond the types; empty when the mail can be sent."""
        if self._is_usual():
            return []
        return [*self._subject_faults(), *self._recipient_faults(), *self._content_faults()]

    def _is_usual(self) -> bool:
        """A short way for most mails. What is printable holds no control character."""
        return (
            0 < len(self.subject) <= MAX_SUBJECT_CHARS
            and self.subject.isprintable()
            and not self.subject.isspace()
            and is_plain(self.recipient)
            and bool(self.content)
            and (self.content.isprintable() or _CONTROL_IN_TEXT.search(self.content) is None)
        )

    def _subject_faults(self) -> list[FieldError]:
        if not self.subject.strip():
            return [FieldError("data.subject", "must not be empty")]
        if len(self.subject) > MAX_SUBJECT_CHARS:
            return [FieldError("data.subject", f"must have at most {MAX_SUBJECT_CHARS} characters")]
        if _CONTROL.search(self.subject):
            return [FieldError("data.subject", "must hold no line breaks or control characters")]
        return []

    def _recipient_faults(self) -> list[FieldError]:
        if len(self.recipient) > MAX_RECIPIENT_CHARS or _CONTROL.search(self.recipient):
            return [FieldError("data.recipient", "must be an e-mail address without control characters")]
        fault = address_fault(self.recipient)
        return [FieldError("data.recipient", fault)] if fault else []

    def _content_faults(self) -> list[FieldError]:
        if not self.content:
            return [FieldError("data.content", "must not be empty")]
        if _CONTROL_IN_TEXT.search(self.content):
            return [FieldError("data.content", "must hold no control characters but tab and line breaks")]
        return []
