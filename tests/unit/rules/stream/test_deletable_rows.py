"""Rows are deleted only if their stream is seen to hold what it has acknowledged."""

from dataclasses import replace

import pytest

from relay.rules.stream.deletable_rows import first_lost, keeps_rows, spot_checks
from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.stream_loss import DeliveredRow, Seen
from relay.rules.stream.streams import StreamFacts, StreamState

STATE = StreamState(StreamFacts("S", ("s.>",)), "then", 1_000.0, first_seq=100, last_seq=200)
SEEN = Seen("S", created="then", mark=Mark(150, "mine"))


@pytest.mark.parametrize(
    ("seen", "state", "id_at_mark", "says"),
    [
        (SEEN, STATE, "mine", None),
        (Seen("S"), STATE, None, None),
        (SEEN, replace(STATE, first_seq=180), None, None),
        (SEEN, STATE, "another", "does not hold"),
        (SEEN, replace(STATE, first_seq=0, last_seq=0), None, "does not hold"),
        (SEEN, replace(STATE, created="now"), None, "does not hold"),
        (SEEN, replace(STATE, created="now"), "mine", "was made again"),
        (replace(SEEN, looked=(Mark(), Mark(120, "ours"))), STATE, "mine", None),
        (replace(SEEN, looked=(Mark(120, "ours"), Mark(120, "theirs"))), STATE, "mine", "does not hold"),
        (SEEN, None, None, "is gone"),
        (Seen("S"), None, None, "is gone"),
        (replace(SEEN, lost=True), STATE, "mine", "has lost"),
    ],
)
def test_the_rows_of_a_stream_stay_unless_it_holds_its_newest_event_or_has_dropped_it(
    seen: Seen, state: StreamState | None, id_at_mark: str | None, says: str | None
) -> None:
    reason = keeps_rows(seen, state, {150: id_at_mark, 120: "ours"})
    assert reason is None if says is None else says in str(reason)


def row(seq: int, stream_seq: int, delivered_at: float) -> DeliveredRow:
    return DeliveredRow(seq, f"id-{seq}", stream_seq, delivered_at)


def none_at_random(below: int) -> int:
    assert below > 0
    return 0


def test_the_ends_of_the_rows_and_the_last_one_before_a_pause_are_looked_for() -> None:
    before = [row(seq, 200 + seq, 1_000.0 + seq) for seq in range(1, 51)]
    after = [row(seq, 300 + seq, 5_000.0 + seq) for seq in range(51, 101)]
    checked = spot_checks([*before, *after], SEEN, STATE, 9_000.0, none_at_random)
    assert {one.seq for one in checked} == {1, 50, 100}


def test_rows_whose_places_were_drawn_again_are_among_what_is_looked_for() -> None:
    of_the_stream_before = [row(seq, 900 + seq, 1_000.0) for seq in range(1, 5)]
    checked = spot_checks(
        [*of_the_stream_before, *(row(seq, 300 + seq, 1_001.0) for seq in range(5, 50))],
        SEEN, STATE, 9_000.0, none_at_random,
    )  # fmt: skip
    assert {904, 305} <= {one.stream_seq for one in checked}


@pytest.mark.parametrize(
    ("one", "seen", "state"),
    [
        (row(1, 99, 5_000.0), SEEN, STATE),
        (row(1, 120, 5_000.0), replace(SEEN, first_seq=121), STATE),
        (row(1, 120, 5_000.0), replace(SEEN, begun_at=5_001.0), STATE),
        (row(1, 120, 5_000.0), SEEN, replace(STATE, max_age_s=3_999.0)),
    ],
    ids=["below the stream", "gone before", "of an earlier stream", "too old"],
)
def test_what_a_stream_may_have_let_go_is_not_looked_for(one: DeliveredRow, seen: Seen, state: StreamState) -> None:
    assert spot_checks([one], seen, state, 9_000.0, none_at_random) == []


@pytest.mark.parametrize(
    ("stream_seq", "ids", "lost"),
    [
        (150, {150: "id-1"}, False),
        (150, {150: "another"}, True),
        (150, {150: ""}, True),
        (150, {150: None}, False),
        (201, {}, True),
    ],
)
def test_a_row_is_lost_if_its_place_is_another_ones_or_beyond_the_end(
    stream_seq: int, ids: dict[int, str | None], lost: bool
) -> None:
    found = first_lost([row(1, stream_seq, 5_000.0)], STATE, ids)
    assert found == (Mark(stream_seq, "id-1") if lost else None)
