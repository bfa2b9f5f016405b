"""The syntax of e-mail addresses: the rules of email-validator, and a short way for the usual ones."""

import re

from email_validator import EmailNotValidError, validate_email

# Dot-atoms at plain host names, in ASCII: email-validator accepts each, which the tests hold it to,
# in a hundredth of its time. Left to it are hyphens in a row (punycode among them), names longer
# than a label may be, and the endings that it knows as special.
_ATOM = r"[A-Za-z0-9_!#$%&'*+\-/=?^`{|}~]++"
_PLAIN = re.compile(
    rf"({_ATOM}(?:\.{_ATOM})*+)@((?:[A-Za-z0-9]++[.-])*[A-Za-z0-9]++\.([A-Za-z]{{2,63}}))"
).fullmatch
_MOST_OF_LOCAL = 64
_MOST_OF_LABEL = 63
_SPECIAL = frozenset({"arpa", "invalid", "local", "localhost", "onion", "test"})


def address_fault(address: str) -> str | None:
    """What is wrong with the syntax of an address; None if nothing is. Asks no name server."""
    if is_plain(address):
        return None
    try:
        validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        return str(error)
    return None


def is_plain(address: str) -> bool:
    """Whether the short way accepts it; what it does not may be an address all the same."""
    match = _PLAIN(address)
    if match is None:
        return False
    local, domain, ending = match.groups()
    return len(local) <= _MOST_OF_LOCAL and len(domain) <= _MOST_OF_LABEL and ending.lower() not in _SPECIAL
