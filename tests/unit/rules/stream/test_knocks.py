"""An event knocks until it is known what became of it, and a knock counts once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rules.stream.knocks import Knocks

_SEQS = st.integers(1, 5)


@given(st.lists(st.tuples(st.sampled_from(["begin", "refused by its condition", "failed", "end", "take"]), _SEQS)))
def test_each_knock_is_heard_once_at_most(steps: list[tuple[str, int]]) -> None:
    knocks = Knocks()
    knocking, heard = set[int](), set[int]()
    for step, seq in steps:
        match step:
            case "begin":
                knocks.begin(seq)
                knocking.add(seq)
            case "end":
                assert knocks.end(seq) == (seq in knocking)
                knocking.discard(seq)
            case "take":
                assert knocks.take_heard(seq) == (seq in heard)
                heard.discard(seq)
            case _:
                by_condition = step == "refused by its condition"
                is_heard = by_condition and seq in knocking
                assert knocks.failed(seq, by_condition=by_condition) == is_heard
                knocking.discard(seq)
                heard.update([seq] if is_heard else [])
        assert bool(knocks) == bool(knocking)
        assert {one for one in range(1, 6) if one in knocks} == knocking


@pytest.mark.parametrize("by_condition", [True, False])
def test_what_does_not_knock_is_not_heard(by_condition: bool) -> None:
    """A row may have a condition of its own that its stream does not meet."""
    knocks = Knocks()
    assert not knocks.failed(1, by_condition=by_condition)
    assert not knocks.take_heard(1)
