"""What a replayed event looks like, and how fast they go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.operate.replayer import Manner, Pace, envelope, message_id
from relay.rules.sending.envelopes import Envelopes, Poison

EVENT = Event(7, "0b0c7ef0-6f0f-4f0e-9d0a-1f1f4c1b7b11", "orders.placed", "k", b"{}", '{"Trace": "a"}', 0.0, 0, False)
NEW, SAME = Manner(17, False, 100.0), Manner(17, True, 100.0)


def headers(lines: str) -> list[list[str]]:
    return [line.split(": ") for line in lines.split("\r\n")[:-1]]


def test_a_replayed_event_has_an_id_of_its_own_and_says_what_it_is() -> None:
    subject, lines = envelope(EVENT, Envelopes(add_key=True), NEW, 1_000_000)
    assert subject == "orders.placed"
    assert headers(lines) == [
        ["Trace", "a"],
        ["Outbox-Key", "k"],
        ["Nats-Msg-Id", f"{EVENT.id}.replay-17"],
        ["Outbox-Replay", "17"],
        ["Outbox-Replay-Of", EVENT.id],
    ]


def test_the_same_id_is_kept_where_that_is_wanted() -> None:
    _, lines = envelope(EVENT, Envelopes(), SAME, 1_000_000)
    assert ["Nats-Msg-Id", EVENT.id] in headers(lines)
    assert ["Outbox-Replay", "17"] in headers(lines)


def test_a_side_subject_may_be_a_template() -> None:
    assert envelope(EVENT, Envelopes(template="rebuild.{topic}"), NEW, 1_000_000)[0] == "rebuild.orders.placed"
    assert envelope(EVENT, Envelopes(template="rebuild.all"), NEW, 1_000_000)[0] == "rebuild.all"


def test_our_own_headers_are_counted() -> None:
    with pytest.raises(Poison, match="the server takes"):
        envelope(EVENT._replace(payload=b"x" * 800), Envelopes(), NEW, 1000)


def test_each_replay_has_ids_of_its_own_and_the_same_when_it_is_resumed() -> None:
    assert message_id("a", NEW) == message_id("a", Manner(17, False, 1.0))
    assert message_id("a", NEW) != message_id("a", Manner(18, False, 100.0))


@given(
    st.floats(0.1, 100_000),
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 10)), min_size=2, max_size=50),
)
def test_no_more_than_the_rate_goes_in_any_stretch_of_time(rate: float, turns: list[tuple[int, float]]) -> None:
    pace = Pace(rate)
    now = 100.0
    sent: list[tuple[float, int]] = []
    for count, idle_s in turns:
        pause_s = pace.pause(now, count)
        assert pause_s >= 0
        now += pause_s
        sent.append((now, count))
        now += idle_s
    for first in range(len(sent)):
        for last in range(first + 1, len(sent)):
            passed_s = sent[last][0] - sent[first][0]
            assert sum(count for _, count in sent[first:last]) <= rate * passed_s * (1 + 1e-9) + 1e-6


@given(st.floats(0.1, 100_000))
def test_a_chunk_is_never_empty_nor_more_than_a_twentieth_of_a_second_or_one(rate: float) -> None:
    assert 1 <= Pace(rate).chunk <= max(1, rate / 20 + 0.5)
