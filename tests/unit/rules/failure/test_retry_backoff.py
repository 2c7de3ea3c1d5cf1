"""The pause before the next attempt grows, has a bound, and is spread by chance."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.failure.retry_backoff import backoff


@given(
    attempt=st.integers(1, 10_000), base=st.floats(0.001, 10), most=st.floats(10, 10_000), chance=st.floats(0, 0.999)
)
def test_a_pause_grows_with_the_attempts_and_has_its_bound(
    attempt: int, base: float, most: float, chance: float
) -> None:
    pause = backoff(attempt, base, most, chance)
    assert 0 < pause <= most
    assert backoff(attempt, base, most, 0) <= backoff(attempt + 1, base, most, 0)
    assert pause >= min(base, most) / 2


@given(base=st.floats(0.001, 10), most=st.floats(0.001, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_chance_takes_at_most_half_of_a_pause(base: float, most: float, chance: float) -> None:
    for attempt in (1, 2, 10, 100):
        whole = backoff(attempt, base, most, 0)
        assert whole / 2 <= backoff(attempt, base, most, chance) <= whole


def test_pauses_double_up_to_the_longest() -> None:
    assert [backoff(attempt, 1, 300, 0) for attempt in range(1, 12)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert backoff(10**9, 1, 300, 0) == 300
