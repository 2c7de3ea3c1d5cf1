"""What a runner says of a partition: its lag never looks well while nothing is known."""

from hypothesis import given
from hypothesis import strategies as st

from relay.observe.projection_progress import STALLED_AFTER_S, PartitionProgress, Settled, Standing, created_of


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def owner(clock: Clock) -> PartitionProgress:
    """Return the progress of an owner that reads on from position 5."""
    progress = PartitionProgress("order_list", 0, wall=clock, monotonic=clock)
    progress.claimed()
    progress.reading(5, 0)
    return progress


def test_the_lag_is_the_age_of_the_oldest_event_that_waits() -> None:
    clock = Clock()
    progress = owner(clock)
    assert progress.view().lag_s is None
    progress.behind(0, 900.0)
    assert (progress.view().lag_s, progress.view().pending) == (0.0, 0)
    progress.taking(990.0)
    assert progress.view().lag_s == 10.0
    progress.behind(7, 995.0)
    clock.now += 1
    assert (progress.view().lag_s, progress.view().pending) == (6.0, 7)


def test_the_lag_grows_from_the_moment_at_which_nothing_is_known_any_more() -> None:
    clock = Clock()
    progress = owner(clock)
    progress.behind(0, None)
    clock.now += 50
    progress.fails("outage", "PostgreSQL: gone")
    clock.now += 30
    progress.fails("outage", "PostgreSQL: gone")
    view = progress.view()
    assert (view.status, view.reason, view.lag_s, view.pending) == ("waiting", "PostgreSQL: gone", 30.0, None)
    progress.claimed()
    progress.reading(5, 0)
    assert progress.view().lag_s == 30.0, "it is not known yet whether anything waits"
    progress.behind(0, None)
    assert progress.view().lag_s == 0.0


def test_an_event_that_was_seen_before_an_outage_keeps_its_age() -> None:
    clock = Clock()
    progress = owner(clock)
    progress.behind(0, None)
    progress.taking(980.0)
    progress.fails("configuration", "PostgreSQL: no such table")
    clock.now += 10
    assert progress.view().lag_s == 30.0


def test_an_owner_that_writes_nothing_is_stalled_and_one_that_waits_says_why() -> None:
    clock = Clock()
    progress = owner(clock)
    clock.now += STALLED_AFTER_S + 1
    view = progress.view()
    assert (view.status, view.reason) == ("stalled", "nothing was written for 31 s")
    progress.beat()
    assert progress.view().status == "running"
    progress.fails("outage", "NATS: away")
    clock.now += STALLED_AFTER_S + 1
    assert progress.view().status == "waiting"


def test_what_is_waited_for_is_told_until_something_is_written_again() -> None:
    progress = owner(Clock())
    progress.fails("outage", "PostgreSQL: a lock")
    progress.reading(5, 0)
    assert (progress.view().status, progress.view().reason) == ("waiting", "PostgreSQL: a lock")
    progress.beat()
    assert (progress.view().status, progress.view().reason) == ("running", None)
    progress.fails("outage", "PostgreSQL: a lock")
    progress.settled(Settled(6, 0, 1), 0.02)
    assert progress.view().status == "running"


def test_what_is_not_ours_is_said_as_it_is_written_down_and_without_a_lag() -> None:
    clock = Clock()
    progress = owner(clock)
    progress.behind(3, 990.0)
    progress.not_ours(Standing("stopped", "a gap", 40, 2, 900.0))
    view = progress.view()
    assert (view.status, view.reason, view.owned) == ("stopped", "a gap", False)
    assert (view.position, view.parked, view.complete_up_to, view.lag_s, view.pending) == (40, 2, 900.0, None, None)


def test_what_was_settled_is_counted_once() -> None:
    clock = Clock()
    progress = owner(clock)
    progress.settled(Settled(9, 1, 2, 3, 4, 1, 0, created_of([999.0, None])), 0.02)
    progress.settled(Settled(9, 0, 1, skipped=1), None)
    assert (progress.applied, progress.refused, progress.skipped) == (3, 1, 1)
    assert progress.repeats == {"settled": 3, "replay": 4}
    assert progress.latency.total == 1.0
    assert (progress.batches.buckets()[-1][1], progress.batches.total) == (1.0, 0.02)
    assert (progress.view().position, progress.view().parked) == (9, 0)


_STEPS = st.lists(st.sampled_from(["fails", "reading", "claimed", "released", "beat", "tick"]), max_size=30)


@given(_STEPS)
def test_after_a_failure_no_lag_is_0_before_the_stream_was_seen_again(steps: list[str]) -> None:
    clock = Clock()
    progress = owner(clock)
    progress.behind(0, None)
    progress.fails("outage", "gone")
    clock.now += 1
    for step in steps:
        match step:
            case "fails":
                progress.fails("outage", "gone")
            case "reading":
                progress.reading(5, 0)
            case "claimed":
                progress.claimed()
            case "released":
                progress.released()
            case "beat":
                progress.beat()
            case _:
                clock.now += 1
        assert (progress.view().lag_s or 0) >= 1
