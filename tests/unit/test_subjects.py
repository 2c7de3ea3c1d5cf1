"""What untrusted rows may ask for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.subjects import Envelopes, Poison, key_token, matches, subject_fault, template_fault

MEBIBYTE = 1024 * 1024


def event(topic: str = "t.x", *, key: str | None = "k", payload: bytes = b"{}", headers: object = None) -> Event:
    text = None if headers is None else json.dumps(headers)
    return Event(7, "an-id", topic, key, payload, text, 1_700_000_000.25, 0, False)


@given(st.text(max_size=30))
def test_no_subject_that_is_let_through_can_do_harm(subject: str) -> None:
    if subject_fault(subject) is None:
        assert subject.isascii()
        assert subject.isprintable()
        assert not set(subject) & set(" *>")
        assert all(subject.split("."))
        assert not subject.startswith(("$", "_INBOX"))


@pytest.mark.parametrize("subject", ["a", "orders.placed", "a.b-c.D_1", "x.$y"])
def test_plain_subjects_are_let_through(subject: str) -> None:
    assert subject_fault(subject) is None


_TOKEN = st.sampled_from(["a", "b", "c"])


@given(st.lists(_TOKEN | st.just("*"), min_size=1, max_size=4), st.booleans(), st.lists(_TOKEN, min_size=1, max_size=5))
def test_patterns_match_token_by_token(pattern: list[str], tail: bool, subject: list[str]) -> None:
    def fits(left: list[str], right: list[str]) -> bool:
        if not left:
            return bool(right) if tail else not right
        return bool(right) and left[0] in ("*", right[0]) and fits(left[1:], right[1:])

    written = ".".join([*pattern, ">"] if tail else pattern)
    assert matches(written, ".".join(subject)) == fits(pattern, subject)


@given(st.none() | st.text(max_size=20))
def test_a_key_becomes_one_token(key: str | None) -> None:
    token = key_token(key)
    assert subject_fault(f"a.{token}") is None or len(token) > 1000
    assert "." not in token


def test_a_template_is_checked_before_anything_starts() -> None:
    assert template_fault("{topic}") is None
    assert template_fault("shop.{key}.{topic}") is None
    assert "unknown" in (template_fault("{other}") or "")
    assert template_fault("fixed") is not None
    assert template_fault("a..{topic}") is not None


def test_a_template_takes_the_key_as_a_token() -> None:
    envelopes = Envelopes(template="shop.{key}.{topic}")
    assert envelopes.subject(event("placed", key="a.b")) == "shop.a%2Eb.placed"
    assert envelopes.subject(event("placed", key=None)) == "shop._.placed"


def test_only_allowed_subjects_pass() -> None:
    envelopes = Envelopes(allow=["orders.*"])
    assert envelopes.subject(event("orders.placed")) == "orders.placed"
    with pytest.raises(Poison, match="outside"):
        envelopes.subject(event("payments.made"))


def test_configured_headers_come_with_those_of_the_row() -> None:
    envelopes = Envelopes(add_key=True, add_seq=True, add_created_at=True)
    assert envelopes.headers(event(headers={"traceparent": "00-1", "n": 2, "b": True}), MEBIBYTE) == {
        "traceparent": "00-1",
        "n": "2",
        "b": "true",
        "Outbox-Key": "k",
        "Outbox-Seq": "7",
        "Outbox-Created-At": "2023-11-14T22:13:20.250000+00:00",
        "Nats-Msg-Id": "an-id",
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"Nats-Rollup": "all"},
        {"NATS-TTL": "1s"},
        {"X": "a\r\nb"},
        {"X": "\x00"},
        {"a:b": "x"},
        {"": "x"},
        {"ü": "x"},
        {"X": None},
        {"X": {}},
        ["X"],
    ],
)
def test_a_header_that_breaks_a_rule_is_poison(headers: object) -> None:
    with pytest.raises(Poison):
        Envelopes().headers(event(headers=headers), MEBIBYTE)


def test_an_allowed_control_header_passes_and_the_message_id_never() -> None:
    envelopes = Envelopes(allow_nats=["Nats-TTL", "Nats-Msg-Id", "Nats-Batch-Commit"])
    assert envelopes.headers(event(headers={"nats-ttl": "1s"}), MEBIBYTE)["nats-ttl"] == "1s"
    for name in ("Nats-Msg-Id", "Nats-Batch-Commit"):
        with pytest.raises(Poison):
            envelopes.headers(event(headers={name: "1"}), MEBIBYTE)


@given(st.integers(-200, 200))
def test_the_size_is_counted_to_the_byte(spare: int) -> None:
    one = event(headers={"X": "ü" * 10})
    wire = len("NATS/1.0\r\n") + len("X: ") + 20 + 2 + len("Nats-Msg-Id: an-id\r\n") + 2
    limit = wire + len(one.payload) + spare
    if spare >= 0:
        assert Envelopes().make(one, limit)
    else:
        with pytest.raises(Poison, match="the server takes"):
            Envelopes().make(one, limit)


@pytest.mark.parametrize("text", ['{"n": ' + "1" * 5000 + "}", '{"n": ' + "[" * 100_000 + "]" * 100_000 + "}"])
def test_headers_that_python_cannot_read_are_poison(text: str) -> None:
    with pytest.raises(Poison, match="cannot be read"):
        Envelopes().headers(event()._replace(headers=text), MEBIBYTE)


def test_what_stands_in_a_topic_is_no_template() -> None:
    with pytest.raises(Poison):
        Envelopes(template="p.{topic}.{key}").subject(event("a.{topic} b"))
    assert Envelopes(template="p.{topic}.{key}").subject(event("a.{key}")) == "p.a.{key}.k"
