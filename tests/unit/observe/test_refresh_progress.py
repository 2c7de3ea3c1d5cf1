"""What a runner says of the views that it refreshes."""

from relay.observe.projection_metrics import ProjectionMetrics
from relay.observe.refresh_progress import RefreshProgress
from tests.support.samples import sample


def test_the_age_counts_from_the_beginning_of_the_last_refresh_that_succeeded() -> None:
    now = [1_000.0]
    progress = RefreshProgress("order_list", "daily", wall=lambda: now[0])
    assert (progress.age_s, progress.took_s) == (None, None)
    progress.seen(30.0, 2.0, 1)
    now[0] += 5
    assert (progress.age_s, progress.took_s, progress.failures) == (35.0, 2.0, 1)
    progress.failed()
    assert (progress.age_s, progress.failures) == (35.0, 2), "a failed one makes nothing younger"
    progress.refreshed(3.0)
    assert (progress.age_s, progress.took_s, progress.failures) == (3.0, 3.0, 0)
    progress.seen(None, 0.0, 4)
    assert (progress.age_s, progress.took_s, progress.failures) == (None, None, 4)


def test_a_view_is_shown_with_what_is_known_of_it() -> None:
    metrics = ProjectionMetrics()
    progress = metrics.view("order_list", "daily")
    labels = {"projection": "order_list", "view": "daily"}

    def value(name: str) -> float | None:
        return sample(metrics.collect(), f"outbox_projection_refresh_{name}", labels)

    assert [value(name) for name in ("age_seconds", "duration_seconds", "failures")] == [None, None, 0]
    progress.refreshed(1.5)
    age = value("age_seconds")
    assert age is not None and 1.5 <= age < 10 and value("duration_seconds") == 1.5
