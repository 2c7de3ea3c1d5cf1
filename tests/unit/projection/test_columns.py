"""A batch that is read by columns is what reading its messages one by one says, or it is not read at all."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.jetstream.consumer import headers_of
from relay.projection.rules.columns import Columns, Message, columns_of
from relay.projection.rules.grouping import Mode, group
from relay.projection.rules.incoming import Incoming, read
from relay.projection.sql_text import parameters

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def usual(place: int, key: str | None = "k", **headers: str | None) -> Message:
    """Make a message as the relay sends it; other headers with underscores for dashes, None to leave one out."""
    known: dict[str, str | None] = {
        "Nats-Msg-Id": f"id-{place}",
        "Outbox-Key": key,
        "Outbox-Seq": str(place + 7),
        "Outbox-Origin": "0badcafe",
        "Outbox-Created-At": (FIRST + timedelta(seconds=place)).isoformat(),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in known.items() if value is not None)
    return place, place * 1_000, "orders.placed", f"NATS/1.0\r\n{lines}\r\n".encode(), b'{"i": 1}'


def one_by_one(messages: list[Message]) -> list[Incoming]:
    return [read(seq, at, subject, headers_of(block), payload) for seq, at, subject, block, payload in messages]


def check(messages: list[Message]) -> Columns | None:
    """Hold the columns of a batch against its messages, if it has any."""
    found, events = columns_of(messages), one_by_one(messages)
    if found is None:
        return None
    assert [one.fault for one in events] == [None] * len(events)
    assert not any(one.replay for one in events)
    assert found.topics == {one.topic for one in events}
    assert {found.origin} == {one.origin for one in events}
    assert list(found.seqs) == [one.seq for one in events]
    assert list(found.keys) == [one.key for one in events]
    assert list(found.created) == [one.created for one in events]
    assert found.rows() == [parameters([one]) for one in events]
    for mode in (Mode.SET, Mode.FOLD):
        steps = group((one, "handler", mode) for one in events)
        assert found.steps(mode) == [parameters(step.events) for step in steps]
    return found


def test_what_the_relay_sends_is_read() -> None:
    assert check([usual(place, f"k{place}") for place in range(1, 100)]) is not None
    assert check([usual(1)]) is not None
    assert check([usual(place, key) for place, key in enumerate(["", " a ", "\u00e9", "a", "a\u2028"], 1)]) is not None
    assert check([usual(place, Outbox_Origin=None, traceparent=str(place)) for place in (1, 2)]) is not None
    assert check([usual(place, Event_Version=str(place)) for place in (1, 2)]) is not None
    batch = [usual(place, Nats_Batch_Id="b", Nats_Batch_Sequence=str(place)) for place in (1, 2)]
    last = usual(3, Nats_Batch_Id="b", Nats_Batch_Sequence="3", Nats_Batch_Commit="1")
    assert check([*batch, last, usual(4)]) is not None
    assert check([last, *batch]) is not None


@pytest.mark.parametrize(
    "other",
    [
        {"key": None},
        {"key": "a\x1eb"},
        {"key": "a\x1db"},
        {"key": "a\x00b"},
        {"Outbox_Seq": None},
        {"Outbox_Seq": "0"},
        {"Outbox_Seq": "07"},
        {"Outbox_Seq": " 7"},
        {"Outbox_Seq": ""},
        {"Outbox_Seq": "\u0667"},
        {"Outbox_Seq": str(2**63)},
        {"Outbox_Origin": "another"},
        {"Outbox_Origin": None},
        {"Outbox_Created_At": "2026-01-02T03:04:05"},
        {"Outbox_Created_At": "yesterday"},
        {"Outbox_Created_At": f"{FIRST.isoformat()} "},
        {"Nats_Msg_Id": "id "},
        {"Nats_Msg_Id": None},
        {"Event_Version": "2"},
        {"Outbox_Replay": "1"},
        {"traceparent": "one"},
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_message_that_is_not_like_the_others_has_all_read_one_by_one(place: int, other: dict[str, Any]) -> None:
    messages = [usual(1, "a"), usual(2, "b"), usual(3, "c")]
    messages[place] = usual(place + 1, **other)
    assert check(messages) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Event_Version": "two"},
        {"Event_Version": "01"},
        {"Outbox_Replay": "1", "Outbox_Replay_Of": "id"},
        {"Outbox_Origin": " a"},
        {"Outbox_Key": None},
        {"Outbox_Created_At": None},
        {"Nats_Msg_Id": None},
    ],
)
def test_what_is_in_all_of_them_and_is_not_usual_has_them_read_one_by_one(headers: dict[str, str | None]) -> None:
    assert check([usual(place, **headers) for place in (1, 2, 3)]) is None


RECORD = usual(1)[3]
LINES = st.sampled_from(
    [
        b"NATS/1.0",
        b"",
        b"\x1e",
        b"no header",
        b"Outbox-Key:k",
        b"Outbox-Key: other",
        b"outbox-key: k",
        b"Nats-Msg-Id: one",
        b"Outbox-Replay: 1",
        b"Outbox-Seq: 9",
        b"Nats-Batch-Id: b",
        b"Nats-Batch-",
        b"X-Nats-Batch-Id: \rNats-Batch-Id",
        b"X: \xff",
        RECORD.removesuffix(b"\r\n"),
    ]
)


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """A block of headers of the relay, with some of its lines changed by whoever may publish there."""
    lines = RECORD.split(b"\r\n")
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(lines)))
        lines[place : place + draw(st.integers(0, 2))] = draw(st.lists(LINES, max_size=2))
    return b"\r\n".join(lines)


@given(
    changed=st.lists(blocks(), min_size=1, max_size=4),
    payloads=st.lists(st.sampled_from([b"{}", b"", b"\xff", b"\x1e", b"\x00", "\u00e9".encode()]), min_size=4),
    subjects=st.lists(st.sampled_from(["a.b", "a.c", "a\x1d"]), min_size=4),
)
@example(changed=[RECORD * 2, b""], payloads=[b"{}"] * 4, subjects=["a"] * 4)
@example(changed=[RECORD, b"", RECORD * 2], payloads=[b"{}"] * 4, subjects=["a"] * 4)
def test_nothing_that_somebody_publishes_is_read_in_another_way(
    changed: list[bytes], payloads: list[bytes], subjects: list[str]
) -> None:
    messages = [
        (place, place, subject, block, payload)
        for place, (block, payload, subject) in enumerate(zip(changed, payloads, subjects, strict=False), 1)
    ]
    check(messages)


@given(keys=st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=30))
def test_a_key_that_comes_again_waits_for_the_next_statement(keys: list[str]) -> None:
    assert check([usual(place, key) for place, key in enumerate(keys, 1)]) is not None
