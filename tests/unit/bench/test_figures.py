"""What the benchmark computes from what it has measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Sample, p50_p99, rate, ratios


def test_a_rate_counts_neither_the_start_nor_what_the_first_look_shows() -> None:
    samples = [Sample(0.0, 0), Sample(7.0, 0), Sample(8.0, 500), Sample(9.0, 1_500), Sample(10.0, 2_500)]

    assert rate(samples) == 1_000


def test_a_rate_ends_with_the_first_look_that_shows_all() -> None:
    assert rate([Sample(0.0, 100), Sample(1.0, 300), Sample(5.0, 300)]) == 200


@pytest.mark.parametrize(
    "samples", [[Sample(0.0, 0)], [Sample(0.0, 0), Sample(1.0, 10)], [Sample(0.0, 5), Sample(1.0, 5)]]
)
def test_no_rate_is_told_from_less_than_two_looks_that_show_progress(samples: list[Sample]) -> None:
    with pytest.raises(ValueError, match="progress"):
        rate(samples)


@given(st.floats(1, 100_000), st.integers(2, 500), st.floats(0, 1_000))
def test_work_at_a_steady_pace_has_that_rate_however_late_it_begins(pace: float, looks: int, late: float) -> None:
    samples = [Sample(late, 0), *(Sample(late + look, round(look * pace)) for look in range(1, looks + 1))]

    assert rate(samples) == pytest.approx(pace, abs=1)


def test_ratios_are_of_neighbours_in_time() -> None:
    assert ratios([10, 90], [5, 30]) == [2, 3]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


def test_percentiles_are_those_of_the_values() -> None:
    median, late = p50_p99([float(value) for value in range(1, 100)])

    assert (median, late) == (50, 99)


@given(st.lists(st.integers(0, 1_000_000), min_size=2))
def test_the_99th_percentile_is_no_sooner_than_the_median(values: list[int]) -> None:
    median, late = p50_p99(values)

    assert late >= median
