"""What `relay projection run` counts, for Prometheus. Dashboards rely on the names: they are a contract."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import get_args

from relay import __version__
from relay.observe.exposition import Family
from relay.observe.process_metrics import process_metrics
from relay.observe.projection_progress import PartitionProgress, PartitionView, Status
from relay.observe.refresh_progress import RefreshProgress

_LABELS = ["projection", "partition"]


class ProjectionMetrics:
    """All partitions that one process keeps up to date.

    Args:
        objective_s: Within what time an event should be in its read model, seconds; for the alerts alone.
    """

    def __init__(self, objective_s: float = 300.0) -> None:
        self._objective_s = objective_s
        self._partitions: list[PartitionProgress] = []
        self._refreshes: list[RefreshProgress] = []
        # When the event loop has turned last, monotonic seconds.
        self.turned_at = time.monotonic()

    def partition(self, projection: str, partition: int) -> PartitionProgress:
        """Return the place where the runner of a partition says what it does; made once for each."""
        progress = PartitionProgress(projection, partition)
        self._partitions.append(progress)
        return progress

    def view(self, projection: str, view: str) -> RefreshProgress:
        """Return the place where the refresher of a materialised view says what it does; made once for each."""
        progress = RefreshProgress(projection, view)
        self._refreshes.append(progress)
        return progress

    def turn(self) -> None:
        """Note that the event loop turns."""
        self.turned_at = time.monotonic()

    def views(self) -> list[PartitionView]:
        """Return every partition at this moment; safe in the threads of the HTTP server."""
        return [one.view() for one in list(self._partitions)]

    def collect(self) -> Iterator[Family]:
        """Make the families."""
        yield Family("info", "outbox_projection_build", "Version of the relay whose runner this is", ["version"]).add(
            1, __version__
        )
        yield Family(
            "gauge",
            "outbox_projection_objective_seconds",
            "Within how many seconds an event should be in its read model",
        ).add(self._objective_s)
        partitions = list(self._partitions)
        yield from _gauges([one.view() for one in partitions])
        yield from _counters(partitions)
        yield from _distributions(partitions)
        yield from _views(list(self._refreshes))
        yield from process_metrics()


def _gauges(views: Sequence[PartitionView]) -> Iterator[Family]:
    read: Callable[[PartitionView], float | None]
    for name, text, read in (
        ("owner", "1 if this process applies the partition", lambda one: float(one.owned)),
        ("position", "Everything up to this sequence of the stream is settled", lambda one: one.position),
        ("parked_events", "Events that wait for an operator", lambda one: one.parked),
        ("pending_events", "Messages of the stream behind the position", lambda one: one.pending),
        ("lag_seconds", "Age of the oldest event that is not applied, 0 without one", lambda one: one.lag_s),
        (
            "retention_margin_seconds",
            "For how long the reader may stand still before the stream drops what it has not read",
            lambda one: one.margin_s,
        ),
        (
            "complete_timestamp_seconds",
            "Everything that was committed by then is settled, 0 while that is not known",
            lambda one: one.complete_up_to or 0.0,
        ),
    ):
        family = Family("gauge", f"outbox_projection_{name}", text, _LABELS)
        for one in views:
            value = read(one)
            if value is not None:
                family.add(value, *_labels(one))
        yield family
    status = Family(
        "gauge", "outbox_projection_status", "1 for the status that the partition has now", [*_LABELS, "status"]
    )
    for one in views:
        for name in get_args(Status):
            status.add(float(name == one.status), *_labels(one), name)
    yield status


def _views(refreshes: Sequence[RefreshProgress]) -> Iterator[Family]:
    read: Callable[[RefreshProgress], float | None]
    for name, text, read in (
        ("age_seconds", "Since the beginning of the last refresh that succeeded", lambda one: one.age_s),
        ("duration_seconds", "How long that refresh took", lambda one: one.took_s),
        ("failures", "How many refreshes in a row have failed", lambda one: one.failures),
    ):
        family = Family("gauge", f"outbox_projection_refresh_{name}", text, ["projection", "view"])
        for one in refreshes:
            value = read(one)
            if value is not None:
                family.add(value, one.projection, one.view)
        yield family


def _counters(partitions: Sequence[PartitionProgress]) -> Iterator[Family]:
    count: Callable[[PartitionProgress], int]
    for name, text, count in (
        ("applied_events", "Events that were applied", lambda one: one.applied),
        ("refused_events", "Events that were refused for a reason of their own", lambda one: one.refused),
        ("skipped_events", "Events that were given up", lambda one: one.skipped),
    ):
        family = Family("counter", f"outbox_projection_{name}", text, _LABELS)
        for one in partitions:
            family.add(count(one), *_labels(one))
        yield family
    repeats = Family(
        "counter", "outbox_projection_repeats", "Events that came again and were passed over", [*_LABELS, "why"]
    )
    failures = Family(
        "counter", "outbox_projection_failures", "How often the work was begun again", [*_LABELS, "class"]
    )
    for one in partitions:
        for why, number in list(one.repeats.items()):
            repeats.add(number, *_labels(one), why)
        for kind, number in list(one.failures.items()):
            failures.add(number, *_labels(one), kind)
    yield repeats
    yield failures


def _distributions(partitions: Sequence[PartitionProgress]) -> Iterator[Family]:
    latency = Family(
        "histogram",
        "outbox_projection_latency_seconds",
        "From the creation of an event to the commit of its effects",
        _LABELS,
    )
    batches = Family(
        "histogram", "outbox_projection_batch_duration_seconds", "Time of the transaction that applies a batch", _LABELS
    )
    for one in partitions:
        latency.add_buckets(one.latency.buckets(), one.latency.total, *_labels(one))
        batches.add_buckets(one.batches.buckets(), one.batches.total, *_labels(one))
    yield latency
    yield batches


def _labels(one: PartitionView | PartitionProgress) -> list[str]:
    return [one.projection, str(one.partition)]
