"""The copy of a dead letter: whatever stands in the row, it fits and harms nobody."""

import json

from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.maintenance.dead_letter_copies import copies_of
from relay.outcomes import DeadLetter

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=2000)


def dead(
    *, payload: bytes = b"{}", headers: str | None = None, topic: str = "orders.placed", key: str | None = "k",
    reason: str = "too large", died_at: float = 1_800_000_000.5, payload_bytes: int | None = None,
    failure_class: str | None = None,
) -> DeadLetter:  # fmt: skip
    event = Event(7, "0b0c7ef0-6f0f-4f0e-9d0a-1f1f4c1b7b11", topic, key, payload, headers, 0.0, 3, None)
    return DeadLetter(event, died_at, reason, len(payload) if payload_bytes is None else payload_bytes, failure_class)


def test_the_fullest_copy_has_the_payload_the_own_headers_and_what_happened() -> None:
    headers, payload = next(copies_of(dead(headers='{"traceparent": "00-1", "Outbox-Id": "forged"}'), 1_048_576))
    assert payload == b"{}"
    assert headers == {
        "traceparent": "00-1",
        "Nats-Msg-Id": "0b0c7ef0-6f0f-4f0e-9d0a-1f1f4c1b7b11.dead-1800000000.5",
        "Outbox-Id": "0b0c7ef0-6f0f-4f0e-9d0a-1f1f4c1b7b11",
        "Outbox-Seq": "7",
        "Outbox-Topic": "orders.placed",
        "Outbox-Key": "k",
        "Outbox-Dead-At": "2027-01-15T08:00:00.500000+00:00",
        "Outbox-Dead-Reason": "too large",
        "Outbox-Dead-Attempts": "3",
    }


def test_a_copy_tells_the_class_of_the_failure_also_of_a_row_that_has_only_its_sentence() -> None:
    stored = dead(failure_class="configuration", reason="anything")
    older = dead(reason="refused by the stream: too long (10054)")
    classes = [next(copies_of(letter, 1_048_576))[0]["Outbox-Dead-Class"] for letter in (stored, older)]
    assert classes == ["configuration", "poison"]


def test_a_payload_that_is_too_large_or_was_not_read_is_left_out_and_its_size_is_told() -> None:
    for letter in (dead(payload=b"x" * 5000), dead(payload=b"", payload_bytes=5000)):
        headers, payload = next(copies_of(letter, 5000))
        assert (payload, headers["Outbox-Payload-Bytes"]) == (b"", "5000")


def test_headers_that_break_a_rule_are_left_out() -> None:
    for bad in ('{"Nats-Msg-Id": "x"}', '{"a": "b\\nc"}', "[1]"):
        headers, _ = next(copies_of(dead(headers=bad), 1_048_576))
        assert headers["Nats-Msg-Id"].startswith("0b0c7ef0")
        assert "a" not in headers


@given(
    topic=TEXT, key=st.none() | TEXT, reason=TEXT, own=st.dictionaries(TEXT, TEXT, max_size=3),
    payload=st.binary(max_size=3000), died_at=st.floats(allow_nan=False), max_payload=st.integers(64, 20_000),
)  # fmt: skip
def test_each_copy_fits_and_no_header_can_break_the_line(
    topic: str, key: str | None, reason: str, own: dict[str, str], payload: bytes, died_at: float, max_payload: int
) -> None:
    letter = dead(topic=topic, key=key, reason=reason, headers=json.dumps(own), payload=payload, died_at=died_at)
    copies = list(copies_of(letter, max_payload))
    for headers, sent in copies:
        block = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        assert len(block.encode()) + len(sent) <= max_payload
        assert block.count("\n") == len(headers) + 2
        assert sent in (payload, b"")
    if max_payload >= 2500:
        assert copies, "the shortest copy always fits a server that takes anything at all"
