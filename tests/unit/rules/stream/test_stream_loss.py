"""Loss is told from age, purge and limits by the end of a stream, the id at a sequence, and the stream's own rules."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.stream_loss import (
    DeliveredRow,
    Fate,
    Seen,
    is_copy,
    is_same,
    judge,
    made_again,
    may_repair,
    suspicious,
)
from relay.rules.stream.streams import StreamFacts, StreamState

NOW = 1_800_000_000.0
HOUR_S = 3600.0
CLOCKS_S = 60.0
STATE = StreamState(StreamFacts("S", ("s.>",)), "then", NOW - 100 * HOUR_S, first_seq=100, last_seq=200)
ROW = DeliveredRow(1, "mine", 150, NOW - HOUR_S)
SEEN = Seen("S", created="then", mark=Mark(150, "mine"))


def verdict(
    row: DeliveredRow = ROW,
    state: StreamState | None = STATE,
    stored: dict[int, str | None] | None = None,
    begun_at: float = 0.0,
) -> Fate:
    return judge(row, state, stored or {}, begun_at=begun_at, now=NOW)


@pytest.mark.parametrize(
    ("at", "state", "stored", "expected"),
    [
        (150, STATE, {150: "mine"}, Fate.INTACT),
        (150, STATE, {150: "another"}, Fate.LOST),  # rolled back, and the sequence used again
        (150, STATE, {150: None}, Fate.LOST),  # by somebody who sets no id
        (201, STATE, {}, Fate.LOST),  # rolled back
        (150, STATE, {}, Fate.LOST),  # deleted, or damaged: it cannot be told
        (150, None, {}, Fate.LOST),  # the stream is gone
        (50, STATE, {}, Fate.PURGED),
        (150, replace(STATE, first_seq=201), {}, Fate.PURGED),  # all of it
        (50, replace(STATE, trims=True), {}, Fate.AGED_OUT),
        (50, replace(STATE, thins=True), {}, Fate.AGED_OUT),  # the newest of each subject moves the beginning, too
        (150, replace(STATE, thins=True), {}, Fate.AGED_OUT),
        (150, replace(STATE, max_age_s=HOUR_S / 2), {}, Fate.AGED_OUT),
        (250, replace(STATE, max_age_s=HOUR_S / 2), {}, Fate.AGED_OUT),  # lost, and it would be gone anyway
        (150, replace(STATE, created_at=NOW), {150: "mine"}, Fate.INTACT),  # restored from a copy
        (50, replace(STATE, created_at=NOW), {}, Fate.LOST),  # made again since
    ],
)
def test_what_became_of_a_delivered_event(
    at: int, state: StreamState | None, stored: dict[int, str | None], expected: Fate
) -> None:
    assert verdict(ROW._replace(stream_seq=at), state, stored) is expected


def test_what_went_to_an_earlier_stream_and_was_seen_to_is_not_lost_again() -> None:
    row = ROW._replace(stream_seq=900)
    assert verdict(row) is Fate.LOST
    assert verdict(row, begun_at=NOW - HOUR_S / 2) is Fate.AGED_OUT


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 300), st.booleans(), st.booleans())
def test_a_purge_or_a_limit_never_looks_like_a_loss(at: int, first: int, more: int, trims: bool, thins: bool) -> None:
    state = replace(STATE, first_seq=max(first, at + 1), last_seq=max(first, at + 1) + more, trims=trims, thins=thins)
    assert verdict(ROW._replace(stream_seq=at), state) in (Fate.AGED_OUT, Fate.PURGED)
    assert not suspicious(replace(SEEN, mark=Mark(at, "mine")), state, None)


@pytest.mark.parametrize(
    ("state", "id_at_mark", "expected"),
    [
        (STATE, "mine", False),
        (STATE, "another", True),
        (STATE, "", True),  # a message without an id
        (STATE, None, False),  # deleted: no proof
        (replace(STATE, last_seq=149), None, True),
        (replace(STATE, created="now"), "mine", False),  # restored from a copy
        (replace(STATE, created="now"), None, True),
    ],
)
def test_what_the_highest_mark_tells(state: StreamState, id_at_mark: str | None, expected: bool) -> None:
    assert suspicious(SEEN, state, id_at_mark) is expected
    assert not suspicious(replace(SEEN, mark=Mark()), state, id_at_mark), "nothing was marked yet"


@given(st.floats(-1e6, 1e6), st.integers(1, 300), st.booleans())
def test_what_another_stream_does_not_hold_of_an_earlier_delivery_is_lost(since: float, at: int, trims: bool) -> None:
    state = replace(STATE, created="now", created_at=NOW - HOUR_S, first_seq=301, last_seq=400, trims=trims)
    row = ROW._replace(stream_seq=at, delivered_at=state.created_at + since)
    known = judge(row, state, {}, begun_at=0.0, now=NOW, is_another=True)
    assert (known is Fate.LOST) is (since < CLOCKS_S), "the minute in which clocks may differ counts as before"
    unknown = judge(row, state, {}, begun_at=0.0, now=NOW)
    assert (unknown is Fate.LOST) is (since < -CLOCKS_S)


@given(st.floats(-1e6, 1e6))
def test_a_stream_made_again_is_told_from_a_copy_by_what_it_holds(since: float) -> None:
    state = replace(STATE, created="now")
    assert made_again(SEEN, state, state.created_at + since) is not is_copy(state, state.created_at + since)
    assert is_copy(state, state.created_at + since) is (since < -CLOCKS_S)
    assert not made_again(SEEN, STATE, STATE.created_at + since)
    assert not made_again(replace(SEEN, created=None), state, state.created_at + since)


@pytest.mark.parametrize(
    ("seen", "state", "id_at_mark", "subject", "expected"),
    [
        (SEEN, STATE, None, None, True),  # made when ours was
        (SEEN, replace(STATE, created="now"), "mine", None, True),  # restored from a copy
        (SEEN, replace(STATE, created="now"), None, "s.placed", True),  # made again, for the same events
        (SEEN, replace(STATE, created="now"), None, "orders.placed", False),  # made again, for others
        (SEEN, replace(STATE, created="now"), "another", None, False),  # nobody knows what for
        (replace(SEEN, created=None), STATE, None, "orders.placed", False),  # never seen before
        (replace(SEEN, created=None), STATE, None, "s.placed", True),
        (SEEN, replace(STATE, mirror=True), "mine", "s.placed", False),  # it holds all, and has acknowledged nothing
    ],
)
def test_a_stream_is_known_by_its_subjects_its_making_and_what_it_holds(
    seen: Seen, state: StreamState, id_at_mark: str | None, subject: str | None, expected: bool
) -> None:
    assert is_same(seen, state, id_at_mark, subject) is expected


@given(st.floats(1, 2e9), st.floats(1, 2e9), st.sampled_from(["then", "now"]))
def test_the_same_loss_is_repaired_once(repaired_at: float, newest_lost_at: float, created: str) -> None:
    seen = replace(SEEN, repaired_at=repaired_at)
    in_vain = created == "then" and newest_lost_at > repaired_at
    assert may_repair(seen, replace(STATE, created=created), newest_lost_at) is not in_vain
    assert may_repair(SEEN, STATE, newest_lost_at), "nothing was repaired that has not shown to help"


@given(
    apart_s=st.floats(-1e6, 1e6),
    since=st.floats(-2 * HOUR_S, 200 * HOUR_S),
    at=st.integers(50, 250),
    first_seq=st.integers(1, 300),
    max_age_s=st.sampled_from([0.0, HOUR_S]),
    is_another=st.booleans(),
)
def test_what_became_of_an_event_does_not_depend_on_whether_the_clocks_agree(
    apart_s: float, since: float, at: int, first_seq: int, max_age_s: float, is_another: bool
) -> None:
    """Deliveries are timed by the database's clock, streams by their server's."""
    state = replace(STATE, first_seq=first_seq, max_age_s=max_age_s, at=NOW)
    # The sums of times that lie a few microseconds apart differ in their last digit.
    row = ROW._replace(stream_seq=at, delivered_at=round(NOW - since, 1) + 0.5)

    def found(row: DeliveredRow, now: float) -> Fate:
        return judge(row, state.by_clock(now), {}, begun_at=0.0, now=now, is_another=is_another)

    expected = found(row, NOW)
    apart_s = round(apart_s)
    assert found(row._replace(delivered_at=row.delivered_at + apart_s), NOW + apart_s) is expected
    assert is_copy(state.by_clock(NOW + apart_s), row.delivered_at + apart_s) == is_copy(state, row.delivered_at)


def test_a_server_that_does_not_say_its_time_is_taken_at_its_word() -> None:
    assert STATE.by_clock(NOW + HOUR_S) == STATE
