"""Log lines of one kind: few are written in a window, and each other one is counted once."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.failure.log_line_budget import LineBudget

LINES, WINDOW_S = 3, 60.0


def test_the_first_lines_of_a_window_are_written_and_the_others_told_at_its_end() -> None:
    budget = LineBudget(LINES, WINDOW_S)
    assert [budget.takes("opened", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert budget.takes("ended", 1.0)
    assert budget.left_out(WINDOW_S - 1) == {}
    assert budget.left_out(WINDOW_S) == {"opened": 2}
    assert budget.left_out(WINDOW_S) == {}
    assert budget.takes("opened", WINDOW_S)


def test_lines_that_come_now_and_then_are_all_written() -> None:
    budget = LineBudget(LINES, WINDOW_S)
    assert all(budget.takes("opened", at * WINDOW_S / LINES) for at in range(100))


@given(st.lists(st.tuples(st.sampled_from(["opened", "ended"]), st.floats(0, 100), st.booleans()), max_size=200))
def test_each_line_is_written_or_told_once_and_few_are_written(story: list[tuple[str, float, bool]]) -> None:
    budget = LineBudget(LINES, WINDOW_S)
    now = 0.0
    given, written, told = Counter[str](), Counter[str](), Counter[str]()
    for kind, later, asks in story:
        now += later
        if asks:
            told.update(budget.left_out(now))
        given[kind] += 1
        written[kind] += budget.takes(kind, now)
    told.update(budget.left_out(now + WINDOW_S))
    assert written + told == given
    assert all(count <= LINES * (1 + now / WINDOW_S) for count in written.values())
