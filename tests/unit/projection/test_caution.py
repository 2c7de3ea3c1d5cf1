"""An event that ends the process each time is found by smaller and smaller batches, and nothing else is refused."""

from hypothesis import given
from hypothesis import strategies as st

from relay.projection.rules.caution import Caution


@given(st.integers(1, 5_000))
def test_the_event_that_ends_the_process_is_found_and_no_other(killer: int) -> None:
    position, crashes, refused, runs = 0, 0, list[int](), 0
    while position < 6_000:
        runs += 1
        caution = Caution(crashes)
        while position < 6_000:
            if caution.found:
                position += 1
                refused.append(position)
                assert caution.refused()
                crashes = 0
                continue
            batch = range(position + 1, position + 1 + caution.limit)
            if killer in batch and killer not in refused:
                crashes += 1
                break
            position = batch[-1]
            if caution.passed(len(batch)):
                crashes = 0
    assert refused == [killer]
    assert runs <= 12


def test_a_process_that_has_ended_now_and_then_changes_nothing() -> None:
    for crashes in range(3):
        assert Caution(crashes).limit == 1_000 and not Caution(crashes).found


def test_having_read_everything_ends_the_caution() -> None:
    caution = Caution(6)
    assert caution.limit == 4
    assert caution.passed(0) and caution.limit == 1_000
    assert not caution.passed(0)
