"""What was dropped is read first if reading what is new is in vain, and never for long."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.reading.backfill_first import MOST, BackfillFirst


def test_nothing_is_left_to_it_before_something_was_read() -> None:
    assert not BackfillFirst().take_turn()


@given(events=st.integers(0, 1_000), kept=st.integers(0, 1_000))
def test_only_a_read_that_was_mostly_in_vain_leaves_turns_to_it(events: int, kept: int) -> None:
    kept = min(kept, events)
    turns = BackfillFirst()
    turns.read(events, kept)
    assert turns.take_turn() == (events - kept > kept)


@given(st.lists(st.tuples(st.integers(1, 1_000), st.booleans()), max_size=20))
def test_new_events_wait_for_a_few_turns_at_most(reads: list[tuple[int, bool]]) -> None:
    turns = BackfillFirst()
    for events, in_vain in reads:
        turns.read(events, 0 if in_vain else events)
        assert [turns.take_turn() for _ in range(MOST + 2)].count(True) == (MOST if in_vain else 0)


@given(distance=st.integers(2, 300), page=st.integers(10, 1_000))
def test_it_reaches_a_cursor_that_always_has_more_ahead(distance: int, page: int) -> None:
    """Each read above the cursor, all of it in vain, takes the cursor a page further."""
    turns = BackfillFirst()
    cursor, begin = distance * page, 0
    reads = 0
    while begin < cursor:
        begin += page
        if begin < cursor and not turns.take_turn():
            turns.read(page, 0)
            cursor += page
            reads += 1
    assert reads <= distance // (MOST - 1) + 1
