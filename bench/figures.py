"""What figures are made of. Pure: no I/O."""

from collections.abc import Sequence
from statistics import quantiles
from typing import NamedTuple


class Sample(NamedTuple):
    """How much was done at a moment, seconds of the monotonic clock."""

    at: float
    done: int


def rate(samples: Sequence[Sample]) -> float:
    """Return how much was done a second, from the first sample that shows any to the first that shows all.

    What the first one shows is not counted: starting and connecting are no part of the rate.

    Args:
        samples: In their order; `done` never falls.

    Raises:
        ValueError: Too little was seen to tell a rate.
    """
    begun = next((one for one in samples if one.done > 0), None)
    ended = next((one for one in samples if one.done == samples[-1].done), None)
    if begun is None or ended is None or ended.done == begun.done:
        raise ValueError("no two samples show progress")
    return (ended.done - begun.done) / (ended.at - begun.at)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return what each round says: its figures were taken one after the other, so a slow minute met both."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def p50_p99(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile.

    Args:
        values: At least two.
    """
    percentiles = quantiles(values, n=100)
    return percentiles[49], percentiles[98]
