"""The event that alone keeps a batch from being applied is found, and nothing else is refused."""

from hypothesis import given
from hypothesis import strategies as st

from relay.projection.rules.suspects import FEW, FULL, Suspects

_LAST = 3_000


@given(st.sets(st.integers(1, _LAST - FULL), max_size=5))
def test_each_event_that_fails_alone_is_found_by_four_failures_and_no_other(slow: set[int]) -> None:
    suspects, position, refused, failures = Suspects(), 0, list[int](), 0
    while position < _LAST:
        suspects.begin("one", position)
        if suspects.alone is not None and suspects.alone == position + 1:
            # Another one can be applied: it is tried alone again.
            failures += suspects.alone in slow
            if suspects.alone in slow:
                suspects.convict("slow")
            else:
                suspects.acquit()
        batch = range(position + 1, min(position + suspects.limit, _LAST) + 1)
        if slow & set(batch) - suspects.convicted.keys():
            failures += 1
            suspects.failed("one", position, list(batch), "slow")
            continue
        refused += [seq for seq in batch if seq in suspects.convicted]
        position = batch[-1]
        suspects.passed(position)
    assert refused == sorted(slow)
    # The batch, the few, the one alone, and once more.
    assert failures <= 4 * len(slow)
    assert suspects.limit == FULL


def test_what_has_failed_alone_is_kept_until_it_is_behind_or_no_more_the_next_one() -> None:
    suspects = Suspects()
    suspects.failed("one", 10, [11], "slow")
    assert (suspects.alone, suspects.limit) == (11, FULL)
    suspects.failed("one", 10, [11, 12], "slow")
    assert (suspects.alone, suspects.tries) == (11, 1)
    suspects.begin("one", 10)
    assert suspects.active
    suspects.begin("another stream", 10)
    assert not suspects.active


def test_a_group_that_fails_is_followed_by_few_and_then_by_one() -> None:
    suspects = Suspects()
    suspects.failed("one", 0, list(range(1, 500)), "slow")
    assert suspects.limit == FEW
    suspects.failed("one", 0, list(range(1, FEW + 1)), "slow")
    assert suspects.limit == 1
    suspects.passed(498)
    assert suspects.limit == 1
    suspects.passed(499)
    assert suspects.limit == FULL
