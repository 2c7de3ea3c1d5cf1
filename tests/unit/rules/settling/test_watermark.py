"""Up to which time everything is settled."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.settling.watermark import SettledClock


def test_nothing_is_known_before_a_look_is_reached() -> None:
    clock = SettledClock()
    assert clock.settled_at(100, 100) is None
    clock.looked(5.0, 10, 10)
    assert clock.settled_at(9, 9) is None
    assert clock.settled_at(10, 10) == 5.0


def test_an_idle_outbox_is_complete_up_to_the_last_look() -> None:
    clock = SettledClock()
    for second in range(10):
        clock.looked(float(second), 10, 10)
    assert clock.settled_at(10, 10) == 9.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_it_says_no_more_than_what_is_settled_and_never_goes_back(steps: list[tuple[int, int]]) -> None:
    clock = SettledClock()
    newest = watermark = 0
    said = None
    looks: list[tuple[int, float]] = []
    for second, (came, settled) in enumerate(steps):
        newest += came
        looks.append((newest, float(second)))
        clock.looked(float(second), newest, newest)
        watermark = min(newest, watermark + settled)
        at = clock.settled_at(watermark, watermark)
        reached = [time for seen, time in looks if seen <= watermark]
        assert at == (max(reached) if reached else None)
        assert said is None or (at is not None and at >= said)
        said = at


@given(st.floats(0.001, 10_000), st.integers(0, 5))
def test_a_clock_that_was_set_back_takes_back_what_was_said(step: float, late: int) -> None:
    clock = SettledClock()
    clock.looked(10_000.0, 10, 10)
    clock.looked(10_001.0, 12, 12)
    assert clock.settled_at(11, 11) == 10_000.0
    clock.looked(10_001.0 - step, 12 + late, 12 + late)
    assert clock.settled_at(11, 11) is None
    assert clock.settled_at(12 + late, 12 + late) == 10_001.0 - step


def test_a_watermark_that_stands_still_for_days_fills_no_memory() -> None:
    clock = SettledClock()
    for second in range(100_000):
        clock.looked(float(second), second, second)
    assert clock.settled_at(99_999, 99_999) == 99_999.0
    assert clock.settled_at(0, 0) == 99_999.0


def test_a_row_far_beyond_the_sequence_holds_the_time_up_only_until_it_is_settled() -> None:
    clock = SettledClock()
    clock.looked(5.0, 10**12, 10)
    assert clock.settled_at(10, 10**12 - 1) is None
    assert clock.settled_at(9, 10**12) is None
    assert clock.settled_at(10, 10**12) == 5.0


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 3), st.booleans()), max_size=30))
def test_with_rows_beyond_the_sequence_it_says_what_the_looks_allow_and_never_goes_back(
    steps: list[tuple[int, bool, int, bool]],
) -> None:
    clock = SettledClock()
    drawn = watermark = 0
    ahead, ahead_settled = 0, True
    said = None
    looks: list[tuple[int, int, float]] = []
    for second, (came, insert_ahead, settled, settle_ahead) in enumerate(steps):
        drawn += came
        if insert_ahead:
            ahead, ahead_settled = 10**6 + second, False
        ahead_settled = ahead_settled or settle_ahead
        looks.append((drawn, max(drawn, ahead), float(second)))
        clock.looked(float(second), max(drawn, ahead), drawn)
        watermark = min(drawn, watermark + settled)
        rows = max(watermark, ahead if ahead_settled and watermark == drawn else 0)
        at = clock.settled_at(watermark, rows)
        if at != said:
            reached = [time for low, high, time in looks if low <= watermark and high <= rows]
            assert at is not None and reached and (said or 0.0) <= at <= max(reached)
        said = at
    clock.looked(100.0, max(drawn, ahead), drawn)
    assert clock.settled_at(drawn, max(drawn, ahead)) == 100.0
