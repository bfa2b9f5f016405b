"""Varied e-mails: the kinds, sizes and alphabets that a shop or a service sends, from a seed."""

from collections.abc import Iterator
from random import Random
from typing import TypedDict

_NAMES = ("ada", "grace.hopper", "o'neil", "jean-luc", "linus", "margaret.hamilton", "dennis", "b.liskov")
_WORDS = (
    *("order", "parcel", "invoice", "account", "delivery", "update", "thank", "balance", "support", "reset"),
    *("receipt", "offer", "ticket", "journey", "garden", "kitchen", "library", "concert", "weather", "river"),
)
_SUBJECTS = (
    "Your order {n} is on its way",
    "Receipt {n}",
    "Reset your password",
    "Rechnung Nr. {n} für März – vielen Dank",
    "ご注文の確認 {n}",
    "Weekly digest #{n}: what you missed",
    "Ваш заказ {n} отправлен",
    "Reminder: appointment {n} tomorrow ☕",
)
_CHARACTERS = ((120, 400, 30), (400, 1_500, 40), (1_500, 4_000, 22), (8_000, 16_000, 8))
"""Least, most, and how many in a hundred: most mails are notes, a few are newsletters (mean about 2 kB)."""


class Mail(TypedDict):
    """The `data` of an e-mail task."""

    subject: str
    recipient: str
    content: str


def mails(seed: int, domain: str, tag: str) -> Iterator[Mail]:
    """Mails without end; two iterators with one seed give the same. Recipients read `name+tag@domain`."""
    random = Random(seed)  # noqa: S311 - variety that can be repeated, not secrecy
    texts = [_text(random) for _ in range(64)]  # made once: composing text must not be what the load costs
    number = 0
    while True:
        number += 1
        yield Mail(
            subject=random.choice(_SUBJECTS).format(n=number),
            recipient=f"{random.choice(_NAMES)}+{tag}@{domain}",
            content=f"Dear customer,\n\n{random.choice(texts)}\n\nReference {seed}-{number}\n",
        )


def _text(random: Random) -> str:
    least, most, _ = random.choices(_CHARACTERS, weights=[share for *_, share in _CHARACTERS])[0]
    length = random.randint(least, most)
    lines: list[str] = []
    while sum(map(len, lines)) < length:
        lines.append(" ".join(random.choices(_WORDS, k=random.randint(6, 12))).capitalize() + ".")
        if random.random() < 0.2:
            lines.append("")
    return "\n".join(lines)
