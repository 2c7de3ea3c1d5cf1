"""Each seq has the origin it was drawn under, whatever origins were begun later."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.origins import Origins

BEGINNINGS = st.sets(st.integers(0, 50), min_size=1).map(sorted)


@given(BEGINNINGS, st.integers(1, 60))
def test_a_seq_is_of_the_last_origin_that_began_below_it(beginnings: list[int], seq: int) -> None:
    text = ",".join(f"{above}:o{above}" for above in beginnings)
    below = [above for above in beginnings if above < seq]
    assert Origins(text).of(seq) == (f"o{below[-1]}" if below else "")


@given(BEGINNINGS, st.integers(1, 60))
def test_another_origin_changes_none_below_it(beginnings: list[int], seq: int) -> None:
    text = ",".join(f"{above}:o{above}" for above in beginnings)
    later = f"{text},{beginnings[-1] + 1}:new"
    if seq <= beginnings[-1] + 1:
        assert Origins(later).of(seq) == Origins(text).of(seq)


def test_without_origins_none_is_known() -> None:
    assert Origins().of(1) == ""
