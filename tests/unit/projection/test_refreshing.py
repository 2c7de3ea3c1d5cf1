"""A view is refreshed when it is due and something changed, and a slow one leaves the server time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.projection.rules.refreshing import LOOK_S, Known, Refresh, read_every, wait_s

SECONDS = st.floats(0, 1e6)
KNOWN = st.builds(Known, st.none() | SECONDS, SECONDS, st.none() | st.floats(-1e6, 1e6), st.booleans(), st.booleans())
REFRESH = st.builds(Refresh, st.just("v"), st.floats(1, 1e6), st.booleans())
FRESH = Known(None, 0, None, True, True)


@given(REFRESH, KNOWN)
def test_no_wait_is_negative_or_longer_than_what_it_waits_for(refresh: Refresh, known: Known) -> None:
    longest = max(refresh.every_s, 2 * known.took_s, known.retry_in_s or 0, LOOK_S)
    assert 0 <= wait_s(refresh, known) <= longest


@given(REFRESH, KNOWN)
def test_a_view_is_never_refreshed_sooner_than_its_period_or_twice_its_duration(refresh: Refresh, known: Known) -> None:
    known = known._replace(retry_in_s=None, is_populated=True)
    if wait_s(refresh, known) == 0 and known.age_s is not None:
        assert known.age_s >= refresh.every_s and known.age_s >= 2 * known.took_s


@given(REFRESH, KNOWN)
def test_nothing_is_done_if_nothing_was_applied(refresh: Refresh, known: Known) -> None:
    known = known._replace(is_changed=False, is_populated=True, retry_in_s=None)
    assert wait_s(refresh._replace(always=False), known) > 0


@given(REFRESH, SECONDS)
def test_a_due_view_of_which_something_changed_is_refreshed(refresh: Refresh, more_s: float) -> None:
    assert wait_s(refresh, FRESH) == 0
    assert wait_s(refresh, FRESH._replace(age_s=refresh.every_s + more_s)) == 0
    assert wait_s(refresh._replace(always=True), FRESH._replace(is_changed=False)) == 0


@given(REFRESH, KNOWN)
def test_what_cannot_be_read_is_filled_at_once_unless_that_has_failed(refresh: Refresh, known: Known) -> None:
    known = known._replace(is_populated=False)
    assert wait_s(refresh, known._replace(retry_in_s=None)) == 0
    assert wait_s(refresh, known._replace(retry_in_s=7.0)) == 7.0


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86_400)])
def test_a_period_is_a_number_with_a_unit(text: str, seconds: int) -> None:
    assert read_every(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "0s", "-1s", "1.5h", "5 m", "5min", "٣s", "1w"])
def test_nothing_else_is_a_period(text: str) -> None:
    with pytest.raises(ValueError, match="30s, 5m, 1h or 1d"):
        read_every(text)


def test_a_fault_names_the_view() -> None:
    assert Refresh("sums", 300).fault is None
    assert "plain lower-case name" in str(Refresh('sums"; DROP', 300).fault)
    for every_s in (0.5, 0, -1, float("nan"), 1e9):
        assert "sums" in str(Refresh("sums", every_s).fault)
