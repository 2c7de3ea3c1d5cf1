"""Rows that the database refuses to change: tried again after growing pauses, each reason said once."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.settling.refused_rows import RefusedRows


@given(times=st.integers(1, 40))
def test_pauses_grow_up_to_a_minute_and_never_beyond(times: int) -> None:
    rows, now, last = RefusedRows(), 0.0, 0.0
    for _ in range(times):
        rows.refused(1, "a check", now)
        pause = next(step for step in range(1, 62) if not rows.waits(1, now + step))
        assert last <= pause <= 60
        last, now = pause, now + pause


def test_a_reason_is_news_once_until_no_row_is_refused() -> None:
    rows = RefusedRows()
    assert [rows.refused(seq, "a check", 0.0) for seq in (1, 2, 1)] == [True, False, False]
    assert rows.refused(3, "a trigger", 0.0)
    for seq in (1, 2, 3):
        rows.accepted(seq)
    assert len(rows) == 0
    assert rows.refused(1, "a check", 0.0)


def test_a_row_that_was_not_refused_never_waits() -> None:
    rows = RefusedRows()
    rows.refused(1, "a check", 0.0)
    assert not rows.waits(2, 0.0)
    rows.accepted(2)
    assert rows.waits(1, 0.5)


def test_if_none_is_changed_for_seconds_while_many_are_refused_it_says_why() -> None:
    rows = RefusedRows()
    assert rows.accepts_none(100.0) is None, "nothing was refused"
    for seq in range(9):
        rows.refused(seq, "a rule", 100.0)
    assert rows.accepts_none(120.0) is None, "each may have a fault of its own"
    rows.refused(9, "a check", 105.0)
    assert rows.accepts_none(109.0) is None
    assert rows.accepts_none(110.0) == "a check"
    rows.accepted_any()
    assert rows.accepts_none(110.0) is None
    rows.refused(1, "a rule", 111.0)
    assert rows.accepts_none(121.0) == "a rule"
    for seq in range(10):
        rows.accepted(seq)
    assert rows.accepts_none(121.0) is None, "none is refused any more"
