"""What a client says of a task, turned into what the queue is told."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from api.bodies import BodyDecoder
from api.envelope import BatchItem, TaskBody, microseconds
from api.idempotency import idempotency_key
from api.purge import mailbox
from hypothesis import given
from hypothesis import strategies as st
from taskqueue.errors import InvalidTaskError
from taskqueue.model import MICROSECOND

NOW_US = 1_800_000_000 * MICROSECOND


def body(**options: object) -> TaskBody:
    return BodyDecoder(TaskBody).read(msgspec.json.encode({"type": "email", "data": {}, **options}))


def test_a_task_that_says_nothing_more_brings_nothing_more() -> None:
    for plain in (body(), body(priority="normal", delay_s=0, queue="default"), body(run_at=None)):
        assert plain.extras(None) is None
        assert not plain.put_off(NOW_US)


@given(st.integers(0, 4_000_000_000_000_000))
def test_times_are_exact_to_the_microsecond(time_us: int) -> None:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    assert microseconds(time) == time_us
    extra = body(run_at=time.isoformat()).extras(None)
    assert extra is not None
    assert extra.due_us == time_us


def test_limits_of_a_task_go_on_as_options_and_urgency_as_its_level() -> None:
    extra = body(max_attempts=3, time_limit_s=1.5, priority="low", delay_s=2).extras(None)
    assert extra is not None
    assert msgspec.json.decode(extra.options or "") == {"max_attempts": 3, "time_limit_s": 1.5}
    assert (extra.priority, extra.delay_us, extra.due_us) == (2, 2 * MICROSECOND, None)


def test_every_fault_of_a_body_is_named_at_once() -> None:
    with pytest.raises(InvalidTaskError) as caught:
        BodyDecoder(BatchItem).read(b'{"data":{},"delay_s":-1,"priority":7,"colour":"red"}')
    assert {fault.field for fault in caught.value.fields} == {"type", "delay_s", "priority", "colour"}


_json = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), _json),
    st.dictionaries(st.text(min_size=1, max_size=3), _json),
)
def test_bodies_are_the_same_to_a_key_if_their_json_says_the_same(one: object, other: object) -> None:
    spaced = msgspec.json.format(msgspec.json.encode(one), indent=2)
    key = idempotency_key("k", msgspec.json.encode(one))
    assert idempotency_key("k", spaced) == key
    assert (idempotency_key("k", msgspec.json.encode(other)).body == key.body) == (one == other)
    assert idempotency_key("l", spaced).key != key.key


def test_domains_are_compared_without_case_and_what_is_before_the_at_exactly() -> None:
    assert mailbox("Ada@EXAMPLE.com") == mailbox("Ada@example.COM") != mailbox("ada@example.com")
