"""Counts per bucket, for a histogram of Prometheus."""

import math
from bisect import bisect_left
from collections.abc import Sequence

# From a millisecond to an hour: the latency of a good day and the length of an outage.
LATENCY_BUCKETS_S = (
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
)  # fmt: skip
STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Distribution:
    """Counts per bucket, seconds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: Sequence[float]) -> None:
        """Count values; in the sum negative ones (a clock that went back) and infinite ones are 0.

        An infinite one of either sign is not known, and counted as the longest.
        """
        bounds, counts, total = self.bounds, self.counts, 0.0
        if not seconds:
            return
        # Those of one batch are mostly alike: then three passes in C do.
        low, high = min(seconds), max(seconds)
        place = bisect_left(bounds, low)
        if low >= 0 and high < math.inf and place == bisect_left(bounds, high):
            counts[place] += len(seconds)
            self.total += sum(seconds)
            return
        for value in seconds:
            counts[bisect_left(bounds, abs(value) if math.isinf(value) else value)] += 1
            if 0 < value < math.inf:
                total += value
        self.total += total

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative counts by upper bound."""
        running, result = 0, []
        for bound, count in zip([*map(str, self.bounds), "+Inf"], list(self.counts), strict=True):
            running += count
            result.append((bound, float(running)))
        return result
