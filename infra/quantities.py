"""Reads Kubernetes quantities (`250m`, `128Mi`), so that settings can be checked and compared."""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_SUFFIXES = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    **{letter: Decimal(1000) ** (n + 1) for n, letter in enumerate("kMGTPE")},
    **{f"{letter}i": Decimal(1024) ** (n + 1) for n, letter in enumerate("KMGTPE")},
}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]*)")


def parse(quantity: str) -> Decimal:
    """The value of a quantity in its base unit (cores or bytes); ValueError when it is not one."""
    found = _QUANTITY.fullmatch(quantity)
    if not found or found[2] not in _SUFFIXES:
        raise ValueError(f"{quantity!r} is not a Kubernetes quantity such as 250m, 0.5, 128Mi or 1Gi")
    return Decimal(found[1]) * _SUFFIXES[found[2]]


def to_bytes(quantity: str) -> int:
    """A quantity of memory or storage in bytes."""
    return int(parse(quantity))


def _cpu(quantity: str) -> str:
    if parse(quantity) < Decimal("0.001"):
        raise ValueError(f"{quantity!r} is less than Kubernetes' smallest share of a core, 1m")
    return quantity


def _memory(quantity: str) -> str:
    if quantity.endswith("m"):
        raise ValueError(f"{quantity!r} is thousandths of a byte: for mebibytes write Mi")
    if to_bytes(quantity) < 1024 * 1024:
        raise ValueError(f"{quantity!r} is less than 1Mi: is its unit missing?")
    return quantity


def _text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Cpu = Annotated[str, BeforeValidator(_text), AfterValidator(_cpu)]
Memory = Annotated[str, BeforeValidator(_text), AfterValidator(_memory)]
