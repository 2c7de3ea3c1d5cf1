"""The search for rows behind the cursor passes over the whole table, whatever comes meanwhile."""

import asyncio
from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.rules.database.database_state import DatabaseState
from relay.rules.failure.holds import Holds
from relay.rules.in_hand import InHand, Limits
from relay.rules.order.gaps import Gaps
from relay.rules.order.lanes import Lanes
from relay.rules.order.seq_bounds import BELOW_ALL
from relay.rules.reading.scrub_pass import STEP_S, STEP_SEQS, ScrubPass, comes_by_itself, longest_s


def event(seq: int, key: str | None = "k", postponed: bool | None = None) -> Event:
    return Event(seq, f"id{seq}", "orders.placed", key, b"{}", None, 0.0, 0, postponed)


def in_hand() -> InHand:
    one = InHand(
        lanes=Lanes(),
        holds=Holds(base_s=1.0, max_s=1.0),
        limits=Limits(events=100, payload_bytes=1_000_000, waiting=1000),
        signal=asyncio.Event,
        watermark=0,
        database=DatabaseState("db", 100, 100, ""),
    )
    one.read_up_to(100)
    return one


@given(
    rows=st.sets(st.integers(-50_000, 200_000), min_size=1, max_size=40).map(sorted),
    growth=st.lists(st.integers(0, 30_000), min_size=100, max_size=100),
    wanted=st.data(),
    cuts=st.lists(st.booleans(), min_size=100, max_size=100),
)
def test_a_row_behind_the_cursor_is_passed_within_the_time_that_is_told(
    rows: list[int], growth: list[int], wanted: st.DataObject, cuts: list[bool]
) -> None:
    """However fast the cursor moves on meanwhile, and from whatever moment of a pass on."""
    cursor = rows[-1]
    row = wanted.draw(st.sampled_from(rows))
    written_after = wanted.draw(st.integers(0, 20))
    search, waited_s, newest = ScrubPass(), 0.0, cursor
    for step in range(100):
        if step == written_after:
            newest = cursor
        at = bisect_right(rows, search.above)
        read = search.step(rows[at] if at < len(rows) else None, cursor, 100_000)
        pause_s = STEP_S
        if read is not None:
            above, upper = read
            reached = above + (upper - above + 1) // 2 if cuts[step] else upper
            search.passed(reached, cursor)
            pause_s = search.pause_s(reached - above)
            if step >= written_after and above < row <= reached:
                assert waited_s <= longest_s(rows[0], newest)
                return
        if step >= written_after:
            waited_s += pause_s
        cursor += growth[step]
        rows.append(cursor)
    raise AssertionError("it was never passed")


def test_events_that_keep_coming_do_not_lead_a_pass_on() -> None:
    search, cursor = ScrubPass(), 20_000
    for _ in range(2):
        read = search.step(1 if search.above == BELOW_ALL else search.above + 1, cursor, 100_000)
        assert read is not None
        search.passed(read[1], cursor)
        cursor += STEP_SEQS
    assert search.above == BELOW_ALL


def test_a_cursor_that_went_back_ends_a_pass() -> None:
    search = ScrubPass()
    assert search.step(1, 50_000, 100_000) == (0, STEP_SEQS)
    search.passed(STEP_SEQS, 5_000)
    assert search.above == BELOW_ALL


def test_a_read_that_was_cut_short_goes_on_in_proportion() -> None:
    search = ScrubPass()
    search.step(1, 50_000, 100_000)
    search.passed(1_000, 50_000)
    assert search.pause_s(1_000) == STEP_S / 10
    search.passed(50_000, 50_000)
    assert search.pause_s(10) == STEP_S


def test_what_another_way_brings_is_left_to_it() -> None:
    hand = in_hand()
    assert not comes_by_itself(hand, event(10))
    assert comes_by_itself(hand, event(10, postponed=True))
    hand.gaps.passed(18, [19, 22], 22)
    assert [seq for seq in range(18, 24) if comes_by_itself(hand, event(seq))] == [20, 21]
    hand.unsettled.take_in([event(10)])
    assert comes_by_itself(hand, event(10))


def test_what_was_dropped_comes_when_its_hold_ends_and_hides_no_other_key() -> None:
    hand = in_hand()
    hand.unsettled.take_in([event(10, "held")])
    hand.lanes.offer([event(10, "held")])
    hand.drop(hand.lanes.drop_head(hand.lanes.take(1)[0]))
    hand.begin_backfill()
    hand.backfilled_up_to(50)
    assert [comes_by_itself(hand, event(seq, "held")) for seq in (40, 60)] == [False, True]
    assert not comes_by_itself(hand, event(60, "other"))
    assert comes_by_itself(hand, event(60, None))
    hand = in_hand()
    hand.lanes.offer([event(10, "held")])
    hand.drop(hand.lanes.drop_head(hand.lanes.take(1)[0]))
    assert comes_by_itself(hand, event(11, "held"))
    assert not comes_by_itself(hand, event(9, "held"))


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 3)), max_size=8), st.sets(st.integers(1, 120), max_size=20)
)
def test_a_seq_is_in_a_gap_if_it_was_passed_and_not_found(steps: list[tuple[int, int]], found: set[int]) -> None:
    gaps, cursor, missing = Gaps(), 0, set[int]()
    for width, rows in steps:
        seqs = sorted({cursor + 1 + at * 2 for at in range(rows) if at * 2 < width})
        gaps.passed(cursor, seqs, cursor + width)
        missing |= set(range(cursor + 1, cursor + width + 1)) - set(seqs)
        cursor += width
        if rows == 2:
            gaps.observe({})
    gaps.found((seq, seq) for seq in found)
    assert [seq for seq in range(cursor + 2) if gaps.has(seq)] == sorted(missing - found)
