"""Rules of the services that need no I/O."""

import time
from datetime import UTC, datetime
from email import message_from_bytes, policy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskqueue.decoding import decoder
from taskqueue.errors import InvalidTaskError
from taskqueue.ids import new_id, queue_of
from taskqueue.model import Claim, rfc3339
from taskqueue.payloads.email import EmailPayload
from taskqueue.settings import SettingsError, describe, load
from worker.attempt import BACKOFF_CAP_S, backoff_s
from worker.context import Lease, Stop
from worker.email.message import build
from worker.email.settings import EmailSettings
from worker.registry import discover, task
from worker.settings import WorkerSettings

CREATED_US = 1_800_000_000_000_000


class Tiny(msgspec.Struct):
    n: int
    note: str = ""


def test_ids_sort_by_the_time_they_were_made() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000


def test_an_id_tells_its_queue() -> None:
    assert queue_of(new_id()) == "default"
    assert queue_of(new_id("bulk")) == "bulk"
    for wrong in ("", "x", "bulk.x", "Bulk." + new_id(), new_id() + "\n", "a" * 64 + "." + new_id()):
        assert queue_of(wrong) is None


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000))
def test_times_are_rfc_3339_with_microseconds(time_us: int) -> None:
    text = rfc3339(time_us)
    assert len(text) == len("2026-01-01T00:00:00.000000Z")
    parsed = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert int(parsed.timestamp()) * 1_000_000 + parsed.microsecond == time_us


def test_decoding_names_every_fault() -> None:
    with pytest.raises(InvalidTaskError) as caught:
        decoder(Tiny)(b'{"note": 3}')
    assert {f.field for f in caught.value.fields} == {"data.n", "data.note"}


@given(st.text(), st.text(max_size=30), st.text())
def test_no_accepted_mail_can_inject_a_header(subject: str, local: str, content: str) -> None:
    payload = EmailPayload(subject, f"{local}@example.com", content)
    if payload.faults():
        return
    envelope = build(payload, "queue@example.org", "id", CREATED_US)
    message = message_from_bytes(envelope.content, policy=policy.default)
    allowed = {"From", "To", "Subject", "Date", "Message-ID"}
    allowed |= {"Content-Type", "Content-Transfer-Encoding", "MIME-Version"}
    assert set(message.keys()) <= allowed
    assert len(message.keys()) == len(set(message.keys()))


def test_the_same_task_gives_the_same_message_on_every_attempt() -> None:
    payload = EmailPayload("s", "ada@example.com", "text")
    first, second = (build(payload, "q@example.org", "an-id", CREATED_US) for _ in range(2))
    assert first == second
    assert first.message_id == "<an-id@example.org>"


@given(st.integers(min_value=1, max_value=10_000))
def test_back_off_grows_to_its_cap_and_is_never_negative(attempt: int) -> None:
    assert 0 <= backoff_s(attempt) <= min(BACKOFF_CAP_S, 2.0 ** min(attempt, 60))


def test_a_lease_ends_by_its_own_deadline_or_when_lost() -> None:
    claim = Claim("id", 1, "email", b"{}", CREATED_US, 1)
    assert Lease(claim, time.monotonic() + 60).held
    assert not Lease(claim, time.monotonic() - 0.001).held
    assert not Lease(claim, time.monotonic() + 60, stop=Stop.LEASE_LOST).held


def test_a_type_needs_a_struct_for_its_payload() -> None:
    async def handler(payload: dict[str, str], context: object) -> None: ...

    with pytest.raises(TypeError, match=r"msgspec\.Struct"):
        task("loose")(handler)


def test_types_are_found_in_every_module_of_the_packages() -> None:
    types = discover("worker.handlers, tests.fixtures.handlers")
    assert {"email", "reverse", "nap"} <= types.keys()
    assert b'"text"' in types["reverse"].schema()


def test_wrong_settings_are_told_together_without_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_CONCURRENCY", "canary-1")
    monkeypatch.setenv("EMAIL_TRANSPORT", "canary-2")
    monkeypatch.setenv("REDIS_PASSWORD", "canary-3")
    with pytest.raises(SettingsError) as caught:
        load(WorkerSettings, EmailSettings)
    assert "WORKER_CONCURRENCY" in str(caught.value)
    assert "EMAIL_TRANSPORT" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_help_lists_every_setting() -> None:
    text = describe(WorkerSettings, EmailSettings)
    assert all(name.upper() in text for name in (*WorkerSettings.model_fields, *EmailSettings.model_fields))
