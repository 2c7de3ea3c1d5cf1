"""The margin never looks better than it is: by age, by size, and while nobody can look."""

from hypothesis import given
from hypothesis import strategies as st

from relay.observe.projection_progress import PartitionProgress, Standing
from relay.observe.retention_margin import Kept, margin_s
from tests.unit.observe.test_projection_progress import Clock, owner

SECONDS = st.floats(0, 1e6)


def test_a_stream_that_drops_nothing_has_no_margin() -> None:
    assert margin_s(Kept(0.0, 0.0, None), 1e6, 1e6) is None


def test_by_age_it_is_what_the_oldest_event_that_waits_has_left() -> None:
    assert margin_s(Kept(0.0, 3600.0, None), 0.0, 50.0) == 3600.0
    assert margin_s(Kept(0.0, 3600.0, None), 3500.0, 50.0) == 100.0
    assert margin_s(Kept(0.0, 3600.0, None), 4000.0, 50.0) == 0.0


def test_by_size_it_is_the_history_before_the_position_less_what_went_since() -> None:
    assert margin_s(Kept(100.0, 0.0, 60.0), 0.0, 100.0) == 60.0
    assert margin_s(Kept(100.0, 0.0, 60.0), 0.0, 130.0) == 30.0


@given(SECONDS, st.floats(1, 1e6), SECONDS, SECONDS, SECONDS, SECONDS)
def test_it_never_grows_with_the_lag_or_with_time_and_is_the_lesser_of_both(
    looked_at: float, age: float, before: float, lag: float, more: float, now: float
) -> None:
    both = Kept(looked_at, age, before)
    found = margin_s(both, lag, now)
    assert found is not None and found >= 0
    for other in (margin_s(both, lag + more, now), margin_s(both, lag, now + more)):
        assert other is not None and other <= found
    parts = [margin_s(Kept(looked_at, age, None), lag, now), margin_s(Kept(looked_at, 0.0, before), lag, now)]
    assert found == min(one for one in parts if one is not None)


def test_it_shrinks_while_the_stream_cannot_be_looked_at() -> None:
    clock = Clock()
    progress: PartitionProgress = owner(clock)
    progress.behind(0, None)
    progress.keeps(Kept(clock.now, 3600.0, 900.0))
    assert progress.view().margin_s == 900.0
    progress.fails("outage", "NATS: gone")
    clock.now += 600
    assert progress.view().margin_s == 300.0
    clock.now += 600
    assert progress.view().margin_s == 0.0
    progress.not_ours(Standing("standby", None, 5, 0, None))
    assert progress.view().margin_s is None
