"""What a histogram counts."""

import math
from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from relay.observe.distribution import LATENCY_BUCKETS_S, Distribution

_AGES = st.floats(-1e9, 1e9) | st.floats(0, 0.05) | st.sampled_from([math.inf, -math.inf])


@given(st.lists(st.lists(_AGES, max_size=8), max_size=5))
def test_a_batch_is_counted_as_its_values_one_by_one(batches: list[list[float]]) -> None:
    found = Distribution(LATENCY_BUCKETS_S)
    for batch in batches:
        found.add(batch)
    values = [value for batch in batches for value in batch]
    counts = [0] * (len(LATENCY_BUCKETS_S) + 1)
    for value in values:
        counts[bisect_left(LATENCY_BUCKETS_S, abs(value) if math.isinf(value) else value)] += 1
    assert found.counts == counts
    assert found.buckets()[-1] == ("+Inf", float(len(values)))
    assert math.isclose(found.total, math.fsum(value for value in values if 0 < value < math.inf), rel_tol=1e-9)
