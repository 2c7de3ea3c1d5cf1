"""The search for rows that the database lets nobody delete."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.settling.undeletable_rows import MOST_REFUSED, Search, UndeletableRows


def searched(search: Search, undeletable: set[int]) -> list[int]:
    """Return what is deleted; nothing is tried once it was deleted."""
    deleted: list[int] = []
    for part in search.parts():
        if undeletable.isdisjoint(part):
            deleted += part
        else:
            search.refuse()
    return deleted


@given(st.sets(st.integers(1, 1000), max_size=50), st.integers(1, 100))
def test_each_row_is_deleted_or_passed_over_by_no_more_refusals_than_are_allowed(
    undeletable: set[int], most: int
) -> None:
    search = Search([range(1, 1001)], most)
    deleted = searched(search, undeletable)
    passed = [seq for part in search.passed for seq in part]
    assert search.refused <= most
    assert sorted(deleted + passed) == list(range(1, 1001))
    assert undeletable <= set(passed)
    found = search.undeletable()
    assert all(set(part) & undeletable for part in found)
    assert len(found) <= len(undeletable)
    assert bool(found) == bool(undeletable)


def test_one_row_among_a_thousand_takes_eleven_refusals() -> None:
    for odd in (1, 500, 501, 1000):
        search = Search([range(1, 1001)], MOST_REFUSED)
        assert len(searched(search, {odd})) == 999
        assert search.refused <= 11
        assert search.undeletable() == [range(odd, odd + 1)]


@given(st.integers(1, 1000))
def test_an_eighth_in_one_piece_is_found_behind_rows_of_which_none_was_deleted(first: int) -> None:
    kept = UndeletableRows()
    kept.begin_turn()
    whole = kept.search_range(range(1, 1001))
    searched(whole, set(range(1, 1001)))
    kept.take(whole, "why", 0)
    assert kept.is_spent
    kept.begin_turn()
    few = kept.search_range(range(1001, 2001))
    deletable = range(1000 + first, 1000 + first + 250)
    deleted = searched(few, set(range(1001, 2001)) - set(deletable))
    assert few.refused <= 15
    if first <= 751:
        assert deleted
    kept.take(few, "why", len(deleted))
    if deleted:
        again = kept.search_range(range(2001, 3001))
        searched(again, set(range(2001, 3001)))
        assert again.refused == MOST_REFUSED - few.refused


@given(st.sets(st.integers(1, 1000), max_size=50))
def test_what_was_passed_over_is_tried_again_in_the_next_pass_alone(undeletable: set[int]) -> None:
    kept = UndeletableRows()
    kept.begin_turn()
    search = kept.search_range(range(1, 1001))
    deleted = searched(search, undeletable)
    kept.take(search, "why", len(deleted))
    tried = [seq for part in kept.search_range(range(1, 1001)).parts() for seq in part]
    assert not set(tried) & {seq for part in search.passed for seq in part}
    kept.begin_pass()
    kept.begin_turn()
    assert list(kept.search_range(range(1, 1001)).parts()) == [range(1, 1001)]


def test_what_was_found_is_told_until_the_next_pass_has_ended() -> None:
    kept = UndeletableRows()
    kept.begin_turn()
    search = kept.search_range(range(1, 1001))
    searched(search, {7, 9})
    kept.take(search, "why", 998)
    assert (kept.found, kept.reason) == ((2, 7), "why")
    kept.begin_pass()
    assert kept.found == (2, 7)
    kept.end_pass()
    assert not any(kept.found)
