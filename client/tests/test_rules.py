"""The client refuses what the relay would refuse, in the same words; one test holds both lists together."""

import functools
import json
import uuid
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from relay.event import Event as Carried
from relay.rules.sending import envelopes
from relay.rules.sending.envelopes import Envelopes, Poison
from relay.rules.stream import subjects

from outbox_client import Event, InvalidEvent, Outbox, rules
from outbox_client.rows import Rows

MAX_BYTES = 70_000
SUBJECTS = st.one_of(
    st.text(max_size=20),
    st.text("ab.$*> _INBOX\t", max_size=12),
    st.sampled_from(["a" * 1024, "a" * 1025, "_INBOX.x", "$SYS", "orders.placed", "a..b"]),
)
_TEXTS = st.text(st.characters(max_codepoint=0x2000, exclude_categories=["Cs"]), max_size=8)
NAMES = st.one_of(_TEXTS, st.sampled_from(["tenant", "Nats-TTL", "nats-msg-id", "Nats-Batch-Id", "a b"]))
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.integers(), st.floats(allow_nan=True), st.booleans(), st.none(), st.lists(st.integers(), max_size=1),
    st.integers(65_000, 66_000).map(lambda size: "x" * size),
)  # fmt: skip
TEMPLATES = st.sampled_from(["{topic}", "shop.{topic}", "{key}", "{topic}.{key}"])


def relays_word(event: Event, template: str, allow_nats: tuple[str, ...], payload: str) -> tuple[str, str] | None:
    """Report why the relay refuses an event; None if it takes it."""
    headers = None if event.headers is None else json.dumps(dict(event.headers))
    row = Carried(1, str(event.id), event.topic, event.key, payload.encode(), headers, 0.0, 0, None)
    try:
        Envelopes(template=template, allow_nats=allow_nats).make(row, MAX_BYTES)
    except Poison as poison:
        return poison.reason, str(poison)
    return None


@given(
    topic=SUBJECTS,
    key=st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=6)),
    headers=st.one_of(st.none(), st.dictionaries(NAMES, VALUES, max_size=3)),
    template=TEMPLATES,
    allow_nats=st.sampled_from([(), ("Nats-TTL", "Nats-Msg-Id")]),
    payload=st.one_of(st.text(max_size=5), st.integers(MAX_BYTES - 200, MAX_BYTES + 5).map(lambda size: "x" * size)),
)
@example("orders.placed", None, {"tenant": None, "a b": None}, "{topic}", (), "")
@example("orders.placed", None, {"tenant": None}, "{topic}", (), "")
def test_both_refuse_the_same_events_in_the_same_words(
    topic: str, key: str | None, headers: Any, template: str, allow_nats: tuple[str, ...], payload: str
) -> None:
    event = Event(topic, payload, key=key, headers=headers)
    outbox = Rows("text", json.dumps, template, allow_nats, MAX_BYTES)
    said = relays_word(event, template, allow_nats, payload)
    if said is None:
        assert outbox.make(event)[1] == topic
    else:
        with pytest.raises(InvalidEvent) as refused:
            outbox.make(event)
        assert (refused.value.reason, str(refused.value)) == said


def test_both_have_the_same_patterns_and_limits() -> None:
    for name in ("_SUBJECT", "_NOT_IN_TOKEN", "_TEMPLATE_FIELD", "_MAX_SUBJECT_BYTES"):
        assert getattr(rules, name) == getattr(subjects, name), name
    for name in ("_HEADER_NAME", "_CONTROL", "_MAX_HEADER_BYTES", "_PER_HEADER_BYTES", "_HEADERS_BYTES"):
        assert getattr(rules, name) == getattr(envelopes, name), name
    assert rules.RESERVED_HEADERS == envelopes._RESERVED_HEADERS


@given(template=st.one_of(SUBJECTS, TEMPLATES, st.sampled_from(["{who}", "{topic}*", "x"])))
def test_both_judge_a_template_alike(template: str) -> None:
    assert rules.template_fault(template) == subjects.template_fault(template)


def test_a_name_that_would_need_quotes_is_no_table() -> None:
    for table in ("Events", "a.b.c", "x; DROP TABLE y", ""):
        with pytest.raises(ValueError, match="plain lower-case name"):
            Outbox(table)
    with pytest.raises(ValueError, match="must be one of jsonb"):
        Outbox(payload="xml")


class Model:
    def model_dump_json(self) -> str:
        return '{"m":1}'


class Jsonable:
    def __json__(self) -> str:
        return '{"j":1}'


def test_a_payload_may_know_its_own_json() -> None:
    outbox = Outbox(dumps=lambda value: f'"{value}"')
    for payload, text in ((Model(), '{"m":1}'), (Jsonable(), '{"j":1}'), (7, '"7"')):
        assert outbox.row(Event("t", payload))["payload"] == text


def test_a_payload_of_characters_is_counted_in_bytes() -> None:
    outbox = Outbox(payload="text", max_bytes=1000)
    outbox.row(Event("t", "x" * 900))
    with pytest.raises(InvalidEvent, match="payload of 1800 bytes"):
        outbox.row(Event("t", "ë" * 900))


def test_an_event_keeps_the_id_it_is_given_and_tells_no_payload() -> None:
    identity = uuid.uuid4()
    event = Event("t", {"password": "x"}, key="k", headers={"secret": "y"}, id=identity)
    assert event.id == identity
    assert repr(event) == f"Event('t', key='k', id='{identity}')"
    assert Event("t", 1).id != Event("t", 1).id


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="text or None, not int"):
        Outbox().row(Event("t", 1, key=cast(Any, 42)))


@pytest.mark.parametrize("value", [Decimal("1.5"), datetime(2026, 1, 1, tzinfo=timezone.utc), uuid.UUID(int=1)])
def test_a_payload_that_json_does_not_know_is_refused_with_what_to_do(value: object) -> None:
    with pytest.raises(TypeError, match=r"not JSON serializable; .*dumps=functools\.partial") as refused:
        Outbox().row(Event("t", {"value": value}))
    told = str(refused.value).rpartition("dumps=")[2]
    dumps = eval(told, {"functools": functools, "json": json})  # noqa: S307 - the hint of this very error, to see it works
    assert Outbox(dumps=dumps).row(Event("t", {"value": value}))["payload"] == json.dumps({"value": str(value)})


def test_an_error_of_the_applications_own_dumps_is_its_own() -> None:
    def dumps(value: object) -> str:
        raise TypeError("no such codec")

    with pytest.raises(TypeError, match=r"^no such codec$"):
        Outbox(dumps=dumps).row(Event("t", 1))
