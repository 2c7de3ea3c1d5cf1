"""What is read of a message, and what is found wrong with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.jetstream.consumer import headers_of
from relay.projection.rules.incoming import read


def test_the_headers_of_the_relay_are_read() -> None:
    headers = {
        "Nats-Msg-Id": "id-1",
        "Outbox-Key": "k",
        "Outbox-Seq": "7",
        "Outbox-Origin": "0badcafe",
        "Outbox-Created-At": "2026-01-02T03:04:05.000006+00:00",
        "Event-Version": "2",
    }
    found = read(9, 1_000, "orders.placed", headers, b'{"a": 1}')
    assert (found.id, found.key, found.seq, found.origin, found.version) == ("id-1", "k", 7, "0badcafe", 2)
    assert (found.at, found.text, found.fault, found.replay) == (headers["Outbox-Created-At"], '{"a": 1}', None, False)


def test_a_message_without_headers_is_of_the_time_at_which_it_was_stored() -> None:
    found = read(9, 1_500_000_000, "orders.placed", {}, b"{}")
    assert (found.seq, found.key, found.version, found.created, found.fault) == (None, None, 1, None, None)
    assert found.at == "1970-01-01T00:00:01.500000+00:00"


def test_a_replay_has_the_id_of_the_event_that_is_replayed() -> None:
    found = read(9, 0, "a.b", {"Nats-Msg-Id": "new", "Outbox-Replay": "3", "Outbox-Replay-Of": "old"}, b"{}")
    assert (found.id, found.replay) == ("old", True)


@pytest.mark.parametrize(
    ("headers", "payload", "word"),
    [
        ({"Outbox-Seq": "-1"}, b"{}", "Outbox-Seq"),
        ({"Outbox-Seq": "0"}, b"{}", "Outbox-Seq"),
        ({"Outbox-Seq": str(2**63)}, b"{}", "Outbox-Seq"),
        ({"Outbox-Seq": "\u0667"}, b"{}", "Outbox-Seq"),
        ({"Event-Version": "two"}, b"{}", "Event-Version"),
        ({"Outbox-Created-At": "yesterday"}, b"{}", "Outbox-Created-At"),
        ({"Outbox-Created-At": "2026-01-02T03:04:05"}, b"{}", "Outbox-Created-At"),
        ({}, b"\xff", "UTF-8"),
        ({}, b'{"a": "\x1e"}', "control"),
        ({}, b'{"a": "\x00"}', "control"),
        ({"Outbox-Key": "a\x1eb"}, b"{}", "control"),
        ({"X": "a\x1db"}, b"{}", "control"),
    ],
)
def test_what_cannot_be_read_says_why(headers: dict[str, str], payload: bytes, word: str) -> None:
    fault = read(9, 0, "orders.placed", headers, payload).fault
    assert fault is not None and word in fault


def test_what_no_text_of_postgresql_may_hold_is_replaced_wherever_it_is_kept() -> None:
    headers = {"Outbox-Key": "k\x00", "Outbox-Origin": "o\x00", "Nats-Msg-Id": "i\x00"}
    found = read(9, 0, "s\x00", headers, b"{}")
    assert (found.key, found.origin, found.id, found.topic) == ("k\ufffd", "o\ufffd", "i\ufffd", "s\ufffd")
    assert found.fault is not None


@pytest.mark.parametrize("place", ["Outbox-Key", "X\x00"])
def test_a_character_that_is_only_in_a_header_or_its_name_is_a_fault(place: str) -> None:
    assert read(9, 0, "s", {place: "\x1e"}, b"{}").fault is not None
    assert read(9, 0, "s", {place.rstrip("\x00"): "plain"}, b"{}").fault is None


@given(st.text(st.characters(exclude_characters="\r\n\x00\x1d\x1e", exclude_categories=["Cs"])))
def test_a_key_is_read_as_it_was_sent(key: str) -> None:
    block = f"NATS/1.0\r\nOutbox-Key: {key}\r\nOutbox-Seq: 7 \r\n\r\n".encode()
    found = read(9, 0, "s", headers_of(block), b"{}")
    assert (found.key, found.seq, found.fault) == (key, 7, None)
    assert read(9, 0, "s", headers_of(b"NATS/1.0\r\nOutbox-Key:k\r\n\r\n"), b"{}").key == "k"
