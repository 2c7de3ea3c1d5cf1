"""What of a tail is read, by where marked events lie."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.stream import unread_ranges as unread
from relay.rules.stream.unread_ranges import unread_ranges

FIRST, LAST = 1_000, 9_000
ENOUGH = unread._WORTH_A_QUESTION
places = st.integers(FIRST, LAST)
marks = st.lists(st.tuples(places, places).map(lambda ends: (min(ends), max(ends))), max_size=8)


def _within(ranges: list[tuple[int, int]]) -> set[int]:
    return {seq for low, high in ranges for seq in range(low, high + 1)}


@given(marks)
def test_what_is_not_marked_is_read_and_nothing_twice_in_order(marked: list[tuple[int, int]]) -> None:
    ranges = unread_ranges(FIRST, LAST, marked)
    read = [seq for low, high in ranges for seq in range(low, high + 1)]
    assert read == sorted(set(read))
    assert set(range(FIRST, LAST + 1)) - _within(marked) <= set(read) <= set(range(FIRST, LAST + 1))


@given(marks)
def test_marked_messages_are_left_out_if_there_are_many_side_by_side(marked: list[tuple[int, int]]) -> None:
    left_out = set(range(FIRST, LAST + 1)) - _within(unread_ranges(FIRST, LAST, marked))
    for low, high in marked:
        if high - low + 1 >= ENOUGH:
            assert set(range(low, high + 1)) <= left_out


def test_marks_that_are_told_one_by_one_count_together() -> None:
    marked = [(seq, seq) for seq in range(FIRST, FIRST + ENOUGH)]
    assert unread_ranges(FIRST, LAST, marked[::2] + marked[1::2]) == [(FIRST + ENOUGH, LAST)]


def test_few_marked_messages_between_others_are_read_over() -> None:
    assert unread_ranges(FIRST, LAST, [(2_000, 2_000 + ENOUGH - 2)]) == [(FIRST, LAST)]


def test_a_tail_that_is_marked_to_its_end_is_not_read() -> None:
    assert unread_ranges(FIRST, LAST, [(FIRST, LAST)]) == []
    assert unread_ranges(FIRST, FIRST - 1, []) == []
