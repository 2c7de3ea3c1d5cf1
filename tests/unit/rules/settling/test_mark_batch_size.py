"""The size of marks: it follows how long they take, and nothing keeps it large or small for ever."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.settling.mark_batch_size import MarkSize

MOST = 4000


@given(st.floats(0.00001, 20), st.floats(0.5, 60))
def test_marks_of_any_speed_soon_take_a_second_at_most_each_and_less_than_that_needs_no_more(
    seconds_each: float, timeout_s: float
) -> None:
    size = MarkSize(MOST)
    for _ in range(13):
        needed_s = size.limit * seconds_each
        size.too_slow(size.limit) if needed_s > timeout_s else size.took(size.limit, needed_s)
    assert size.limit == 1 or size.limit * seconds_each <= 1
    assert size.limit == MOST or size.limit * seconds_each > 0.125 or seconds_each > 0.125


@given(st.lists(st.tuples(st.integers(1, MOST), st.floats(0, 40), st.booleans()), max_size=50))
def test_after_any_story_marks_that_are_quick_again_are_large_again(story: list[tuple[int, float, bool]]) -> None:
    size = MarkSize(MOST)
    for events, seconds, slow in story:
        size.too_slow(events) if slow else size.took(events, seconds)
        assert 1 <= size.limit <= MOST
    for _ in range(12):
        size.took(size.limit, 0.01)
    assert size.limit == MOST


def test_a_batch_that_was_not_full_does_not_make_the_next_one_larger() -> None:
    size = MarkSize(MOST)
    size.too_slow(MOST)
    size.took(size.limit - 1, 0.01)
    assert size.limit == MOST // 2
