"""The rules of an e-mail's payload: the short ways say what the long ones say."""

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st
from taskqueue.payloads.address import address_fault, is_plain
from taskqueue.payloads.email import MAX_SUBJECT_CHARS, EmailPayload

_LETTERS = "aAzZ09.-_+@!#$%&'*/=?^`{|}~\"\\()<>[]:;, \t\n\u00e9\u4e2d\u0301xn"
_LABELS = (
    *("a", "com", "example", "xn--a", "a--b", "-a", "a-", "1", "A1", "a_b", "a-b-c", "b\u00fccher", ""),
    *("x" * 63, "x" * 64, "test", "LOCAL", "arpa", "onion", "invalid", "localhost"),
)


def _address(local: str, labels: list[str], after: str) -> str:
    return f"{local}@{'.'.join(labels)}{after}"


near_addresses = st.builds(
    _address,
    st.text(_LETTERS, max_size=70),
    st.lists(st.sampled_from(_LABELS), max_size=8),
    st.sampled_from(["", "", "", ".", "\n", " ", "@x.org"]),
)
plain_addresses = st.from_regex(
    r"[A-Za-z0-9_!#$%&'*+\-/=?^`{|}~.]{1,70}@([A-Za-z0-9-]{1,70}\.){1,5}[A-Za-z]{1,70}", fullmatch=True
)


def library_accepts(address: str) -> bool:
    try:
        validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return False
    return True


@given(near_addresses | plain_addresses | st.emails() | st.text(_LETTERS))
@example("a@" + "x" * 60 + ".co")
@example("a" * 64 + "@example.com")
@example("a" * 65 + "@example.com")
@example("ada@example.com\n")
@example("ada@sub.TEST")
@example("ada@foo-com")
@example("ada@1.2.com")
def test_an_address_is_accepted_if_and_only_if_the_library_accepts_it(address: str) -> None:
    if is_plain(address):
        assert library_accepts(address)
    assert (address_fault(address) is None) == library_accepts(address)


@pytest.mark.parametrize("address", ["ada@example.com", "a.b+c@mail.example-site.co.uk", "x_1@1.example.org"])
def test_usual_addresses_take_the_short_way(address: str) -> None:
    assert is_plain(address)


_texts = st.text(max_size=20) | st.text("a \t\n\r\x0b\x7f\x85\u2028\xa0\u00ad", max_size=8)


@given(_texts, st.sampled_from(["ada@example.com", "ada@b\u00fccher.example", "no", ""]), _texts)
@example("\u3000", "ada@example.com", "c")
@example("a" * MAX_SUBJECT_CHARS + "b", "ada@example.com", "c")
def test_a_payload_that_takes_the_short_way_has_no_fault(subject: str, recipient: str, content: str) -> None:
    payload = EmailPayload(subject, recipient, content)
    long_way = [
        *payload._subject_faults(),  # pyright: ignore[reportPrivateUsage]
        *payload._recipient_faults(),  # pyright: ignore[reportPrivateUsage]
        *payload._content_faults(),  # pyright: ignore[reportPrivateUsage]
    ]
    assert payload.faults() == long_way
