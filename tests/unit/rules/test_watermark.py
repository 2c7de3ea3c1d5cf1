"""Up to which time everything is settled."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.watermark import SettledClock


def test_nothing_is_known_before_a_look_is_reached() -> None:
    clock = SettledClock()
    assert clock.settled_at(100) is None
    clock.looked(5.0, 10)
    assert clock.settled_at(9) is None
    assert clock.settled_at(10) == 5.0


def test_an_idle_outbox_is_complete_up_to_the_last_look() -> None:
    clock = SettledClock()
    for second in range(10):
        clock.looked(float(second), 10)
    assert clock.settled_at(10) == 9.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_it_says_no_more_than_what_is_settled_and_never_goes_back(steps: list[tuple[int, int]]) -> None:
    clock = SettledClock()
    newest = watermark = 0
    said = None
    looks: list[tuple[int, float]] = []
    for second, (came, settled) in enumerate(steps):
        newest += came
        looks.append((newest, float(second)))
        clock.looked(float(second), newest)
        watermark = min(newest, watermark + settled)
        at = clock.settled_at(watermark)
        reached = [time for seen, time in looks if seen <= watermark]
        assert at == (max(reached) if reached else None)
        assert said is None or (at is not None and at >= said)
        said = at


def test_a_watermark_that_stands_still_for_days_fills_no_memory() -> None:
    clock = SettledClock()
    for second in range(100_000):
        clock.looked(float(second), second)
    assert clock.settled_at(99_999) == 99_999.0
    assert clock.settled_at(0) == 99_999.0
