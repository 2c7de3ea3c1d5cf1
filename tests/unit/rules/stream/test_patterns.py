"""Which NATS patterns take all that another one takes."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rules.stream.subjects import covers, matches

PATTERNS = st.lists(st.sampled_from(["a", "b", "*"]), max_size=3).flatmap(
    lambda parts: st.sampled_from([".".join([*parts, ">"]), ".".join(parts) or "*"])
)
SUBJECTS = [".".join(parts) for size in range(1, 6) for parts in product("abc", repeat=size)]


@pytest.mark.parametrize(
    ("pattern", "other", "wanted"),
    [
        ("orders.>", "orders.placed", True),
        ("orders.*", "orders.placed", True),
        ("orders.*", "orders.>", False),
        ("orders.>", "orders.*.x", True),
        ("orders.placed", "orders.*", False),
        ("orders.>", "orders", False),
    ],
)
def test_a_pattern_covers_another(pattern: str, other: str, wanted: bool) -> None:
    assert covers(pattern, other) == wanted


@given(PATTERNS, PATTERNS)
def test_it_covers_if_no_subject_matches_the_other_alone(pattern: str, other: str) -> None:
    assert covers(pattern, other) == all(matches(pattern, one) for one in SUBJECTS if matches(other, one))
