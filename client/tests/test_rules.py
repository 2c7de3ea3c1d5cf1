"""The client refuses what the relay would refuse, in the same words; one test holds both lists together."""

import functools
import json
import re
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from relay.event import Event as Carried
from relay.operate.replayer import REPLAY, REPLAY_OF
from relay.rules.database.origins import Origins
from relay.rules.sending import envelopes
from relay.rules.sending.cloudevents import CloudEvents
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
    st.one_of(st.integers(57_000, 57_500), st.integers(65_000, 66_000)).map(lambda size: "x" * size),
)  # fmt: skip
TEMPLATES = st.sampled_from(["{topic}", "shop.{topic}", "{key}", "{topic}.{key}"])


# A key with a NUL never reaches the relay: PostgreSQL does not take it.
KEYS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    st.sampled_from(["k\n", "\r", "k\x01", "\x7f", "a\tb", "k" * 57_300, "k" * 65_500]),
)


def relays_word(
    event: Event, template: str, allow_nats: tuple[str, ...], payload: str, *, add_key: bool
) -> tuple[str, str] | None:
    """Report why the relay refuses an event; None if it takes it."""
    headers = None if event.headers is None else json.dumps(dict(event.headers))
    row = Carried(1, str(event.id), event.topic, event.key, payload.encode(), headers, 0.0, 0, None)
    try:
        Envelopes(template=template, allow_nats=allow_nats, add_key=add_key).make(row, MAX_BYTES)
    except Poison as poison:
        return poison.reason, str(poison)
    return None


@given(
    topic=SUBJECTS.filter(lambda topic: "\0" not in topic),  # PostgreSQL takes none, so that the relay sees none
    key=st.one_of(st.none(), KEYS),
    headers=st.one_of(st.none(), st.dictionaries(NAMES, VALUES, max_size=3)),
    template=TEMPLATES,
    allow_nats=st.sampled_from([(), ("Nats-TTL", "Nats-Msg-Id")]),
    payload=st.one_of(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
        st.integers(MAX_BYTES - 200, MAX_BYTES + 5).map(lambda size: "x" * size),
    ),
    key_header=st.booleans(),
)
@example("orders.placed", None, {"tenant": None, "a b": None}, "{topic}", (), "", False)
@example("orders.placed", None, {"tenant": None}, "{topic}", (), "", True)
@example("orders.placed", "k\n", None, "{topic}", (), "", True)
@example("orders.placed", "k\n", None, "{topic}", (), "", False)
@example("orders.placed", "k" * 65_536, None, "{topic}", (), "", True)
@example("orders.placed", "k" * 65_536, None, "{topic}", (), "", False)
@example("orders.placed", "k" * 33_000, {"a": "x" * 33_000}, "{topic}", (), "", True)
def test_both_refuse_the_same_events_in_the_same_words(
    topic: str,
    key: str | None,
    headers: Any,
    template: str,
    allow_nats: tuple[str, ...],
    payload: str,
    key_header: bool,
) -> None:
    event = Event(topic, payload, key=key, headers=headers)
    outbox = Rows("text", json.dumps, template, allow_nats, MAX_BYTES, key_header)
    relays = relays_word(event, template, allow_nats, payload, add_key=key_header)
    try:
        said = None if outbox.make(event)[1] == topic else ("", "it was changed")
    except InvalidEvent as refused:
        said = (refused.reason, str(refused))
    if said is not None and (found := re.fullmatch(r"headers of (\d+) bytes: .*, 8192 of them for .*", said[1])):
        assert 65_535 - 8192 < int(found[1]) <= 65_535
    else:
        assert said == relays


def test_the_room_holds_what_the_relay_adds_at_most_beside_the_key() -> None:
    events = CloudEvents("%" * 500, type_prefix="%" * 200, content_type=f"{'%' * 99}/{'%' * 100}")
    everything = Envelopes(add_seq=True, add_created_at=True, cloud_events=events).with_origins(Origins("0:0123abcd"))
    event = Event("%" * 1024, None)
    row = Carried(2**63 - 1, str(event.id), event.topic, None, b"", None, 0.9, 0, None)
    added = everything.headers(row, 1024 * 1024)
    assert set(added) == {
        "ce-id", "ce-type", "ce-specversion", "ce-source", "ce-datacontenttype", "ce-time",
        "Outbox-Seq", "Outbox-Origin", "Outbox-Created-At", "Nats-Msg-Id",
    }  # fmt: skip
    added |= {REPLAY: str(2**63 - 1), REPLAY_OF: str(event.id)}
    batch = "Nats-Batch-Id: 01234567.9999999999\r\nNats-Batch-Sequence: 1000\r\nNats-Batch-Commit: 1\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in added.items()) + batch
    assert len(lines) <= rules.RELAY_BYTES


def test_headers_and_key_may_take_what_the_room_leaves() -> None:
    outbox, bare = Outbox(), rules.check_headers({}, (), None)
    spare = 65_535 - rules.RELAY_BYTES - bare - len("a: \r\n")
    outbox.row(Event("t", 1, headers={"a": "x" * spare}))
    outbox.row(Event("t", 1, headers={"a": "x" * (spare - 100 - len("Outbox-Key: \r\n"))}, key="k" * 100))
    for headers, key in (({"a": "x" * (spare + 1)}, None), ({"a": "x" * (spare - 100)}, "k" * 100)):
        with pytest.raises(InvalidEvent, match=r", 8192 of them for what the relay adds$") as said:
            outbox.row(Event("t", 1, headers=headers, key=key))
        assert said.value.reason == "size"


@pytest.mark.parametrize("key", ["k\n", "k\r", "\n", "k\x01", "k\x7f"])
def test_a_key_with_a_control_character_needs_a_relay_that_does_not_send_it_as_a_header(key: str) -> None:
    with pytest.raises(InvalidEvent, match="header Outbox-Key holds a line end or another control character"):
        Outbox().row(Event("t", 1, key=key))
    assert Outbox(key_header=False).row(Event("t", 1, key=key))["key"] == key


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


HALVES = ["\ud800", "\udc00", "a\udfff", "\ud800\ud83d\ude00", "\U0001f600\udc00", "\\\ud83d\\\ude00"]
NOT_IN_JSONB = [*HALVES, "\0", "a\0b", "\\\0"]
UNREADABLE = [float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize("dumps", [json.dumps, functools.partial(json.dumps, ensure_ascii=False)])
@pytest.mark.parametrize("text", NOT_IN_JSONB)
def test_a_payload_that_jsonb_does_not_take_is_refused_at_the_call(dumps: Callable[[Any], str], text: str) -> None:
    for payload in (text, {"a": [text]}, {text: 1}, "\\" + text):
        with pytest.raises(InvalidEvent, match=r"^the payload holds (a NUL|half of a surrogate pair)") as refused:
            Outbox(dumps=dumps).row(Event("t", payload))
        assert refused.value.reason == "payload"


@pytest.mark.parametrize("kind", ["jsonb", "json", "text", "bytea"])
@pytest.mark.parametrize("number", UNREADABLE)
def test_a_number_that_json_does_not_know_is_refused_in_every_type_of_column(kind: str, number: float) -> None:
    for payload in (number, {"a": [number]}, {"NaN": "Infinity", "a": number}):
        with pytest.raises(InvalidEvent, match=r"^the payload holds (NaN|-?Infinity), which is no JSON") as refused:
            Outbox(payload=kind).row(Event("t", payload))
        assert refused.value.reason == "payload"
        lenient = functools.partial(json.dumps, default=str)
        with pytest.raises(InvalidEvent, match="which is no JSON"):
            Outbox(payload=kind, dumps=lenient).row(Event("t", payload))


@pytest.mark.parametrize("kind", ["text", "bytea"])
@pytest.mark.parametrize("half", HALVES)
def test_a_text_with_half_a_surrogate_pair_is_no_payload_of_a_text_or_bytea_column(kind: str, half: str) -> None:
    with pytest.raises(InvalidEvent, match=r"^the payload holds half of a surrogate pair"):
        Outbox(payload=kind).row(Event("t", half))


def test_a_nul_is_no_payload_of_a_text_column_and_one_of_a_bytea_column() -> None:
    with pytest.raises(InvalidEvent, match=r"^the payload holds a NUL"):
        Outbox(payload="text").row(Event("t", "a\0b"))
    assert Outbox(payload="bytea").row(Event("t", "a\0b"))["payload"] == b"a\0b"


@pytest.mark.parametrize("text", ["k\0", "k\ud800"])
@pytest.mark.parametrize("key_header", [True, False])
@pytest.mark.parametrize("template", ["{topic}", "{key}"])
def test_what_postgresql_takes_in_no_text_is_refused_as_key_header_and_topic(
    text: str, key_header: bool, template: str
) -> None:
    outbox = Outbox(key_header=key_header, subject=template)
    for event, reason in (
        (Event("t", 1, key=text), "key"),
        (Event("t", 1, headers={"a": text}), "headers"),
        (Event(text, 1, key="k"), "topic" if template == "{key}" else "subject"),
    ):
        with pytest.raises(InvalidEvent) as refused:
            outbox.row(event)
        assert refused.value.reason == reason


def test_a_header_with_more_digits_than_python_writes_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="header a is a number out of range"):
        Outbox().row(Event("t", 1, headers={"a": 10**5000}))


@pytest.mark.parametrize("kind", ["jsonb", "json", "text", "bytea"])
@pytest.mark.parametrize(
    "text", ["\U0001f600", "NaN", "Infinity", "\\u0000", "\\ud800", "\\\\ud800", "\\\\u0000", "\uffff", "\x01"]
)
def test_what_only_looks_like_it_is_taken(kind: str, text: str) -> None:
    payload = Outbox(payload=kind).row(Event("t", {"a": text, text: [text]}))["payload"]
    assert json.loads(cast(Any, payload)) == {"a": text, text: [text]}
