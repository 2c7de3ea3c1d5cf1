"""Each seq has the origin it was drawn under, whatever origins were begun later."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.database.origins import Noticed, Origins

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


@given(BEGINNINGS, st.integers(1, 60))
def test_a_seq_is_of_the_newest_origin_if_it_has_that_origin(beginnings: list[int], seq: int) -> None:
    origins = Origins(",".join(f"{above}:o{above}" for above in beginnings))
    assert origins.is_newest(seq) == (origins.of(seq) == origins.names[-1])


def test_without_origins_none_is_known() -> None:
    assert Origins().of(1) == ""
    assert not Origins().is_newest(1)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 5).map(float)), min_size=1, max_size=12))
def test_an_origin_is_noticed_once_each_relay_has_beaten_three_times_or_is_gone(looks: list[dict[str, float]]) -> None:
    noticed = Noticed(looks[0])
    for count, look in enumerate(looks[1:], 2):
        seen = looks[:count]
        left = {
            member
            for member in looks[0]
            if all(member in one for one in seen)
            and sum(one[member] != other[member] for one, other in itertools.pairwise(seen)) < 3
        }
        assert noticed.by_all(look) == (not left)


def test_without_relays_nobody_is_waited_for() -> None:
    assert Noticed({}).by_all({"new": 1.0})
