"""Which events are looked at to see each one settled."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.reading.tail_reading import LATE_S, Following


def test_what_is_open_is_looked_at_in_turn() -> None:
    following = Following(0)
    following.passed(5, [1, 2, 3, 4, 5], [], 0.0)
    assert [following.turn(2, 0.0) for _ in range(3)] == [[1, 2], [3, 4], [5, 1]]
    following.settled([1, 2, 9])
    assert following.turn(9, 0.0) == [3, 4, 5]


def test_what_never_comes_is_forgotten_and_what_is_pending_is_not() -> None:
    following = Following(0)
    following.passed(3, [1], [2, 3], 0.0)
    following.open([3])
    assert sorted(following.turn(9, LATE_S)) == [1, 3]
    assert len(following) == 2


@given(st.data())
def test_each_event_is_seen_settled_once_in_whatever_order_they_come_and_settle(data: st.DataObject) -> None:
    """A table that changes between the looks: rows appear late, and are settled in any order."""
    seqs = data.draw(st.sets(st.integers(1, 30), min_size=1))
    visible_at = {seq: data.draw(st.integers(0, 6)) for seq in seqs}
    settled_at = {seq: visible_at[seq] + data.draw(st.integers(0, 6)) for seq in seqs}
    following = Following(0)
    seen: list[int] = []
    for at in range(60):
        visible = {seq for seq in seqs if visible_at[seq] <= at}
        settled = [seq for seq in following.turn(7, at) if seq in visible and settled_at[seq] <= at]
        up_to = min(max(visible, default=0), following.cursor + 9)
        passed = range(following.cursor + 1, up_to + 1)
        settled += [seq for seq in passed if seq in visible and settled_at[seq] <= at]
        following.passed(
            up_to, [s for s in passed if s in visible and s not in settled], [s for s in passed if s not in visible], at
        )
        following.settled(settled)
        seen += settled
    assert sorted(seen) == sorted(seqs)
