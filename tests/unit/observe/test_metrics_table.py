"""The table of metrics says what `/metrics` says."""

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

from relay.observe.metrics import CLASSES, COMPONENTS, REASONS, STAGES, TROUBLES, Metrics
from relay.observe.projection_metrics import ProjectionMetrics
from relay.observe.projection_progress import FailureKind, PartitionProgress, Status
from relay.observe.retention_margin import Kept
from relay.observe.snapshot import ConsumerView
from tests.support.promql import table
from tests.unit.observe.test_metrics import SNAPSHOT

TABLE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
_SUFFIX = {"counter": "_total", "info": "_info"}


def rows() -> dict[str, tuple[str, set[str]]]:
    """Return type and labels of each metric in the table."""
    return {name: (kind, set(labels)) for name, (kind, labels) in table().items()}


def projections() -> ProjectionMetrics:
    """Return what a runner shows of a partition of which everything is known."""
    metrics = ProjectionMetrics()
    progress = metrics.partition("order_list", 0)
    progress.claimed()
    progress.reading(1, 0)
    progress.behind(0, None)
    progress.keeps(Kept(0.0, 3600.0, None))
    metrics.view("order_list", "daily").refreshed(1.0)
    return metrics


def shown() -> dict[str, tuple[str, set[str]]]:
    """Return type and labels of each metric of a relay, and of a runner, that have something to say of everything."""
    metrics = Metrics()
    metrics.watch(lambda: replace(SNAPSHOT, term=replace(SNAPSHOT.term, rooms=(("ORDERS", 0.5),))))
    metrics.adoptions_seen({"public.outbox": True})
    metrics.consumers_seen((ConsumerView("ORDERS", "orders", 1, 0, 1.0),))
    return {
        family.name + _SUFFIX.get(family.kind, ""): (
            family.kind,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in (*metrics.collect(), *projections().collect())
    }


def test_every_metric_stands_in_the_table_with_its_type_and_its_labels() -> None:
    assert rows() == shown()


def test_the_table_names_every_value_of_a_label_that_is_known_beforehand() -> None:
    text = TABLE.read_text("utf-8")
    for label, values in (
        ("class", CLASSES),
        ("class", TROUBLES),
        ("reason", REASONS),
        ("stage", STAGES),
        ("component", COMPONENTS),
        ("status", get_args(Status)),
        ("class", get_args(FailureKind)),
        ("why", PartitionProgress().repeats),
    ):
        assert f"`{label}`: {', '.join(values)} |" in text


def test_each_unit_stands_in_the_name() -> None:
    for name, (kind, _) in shown().items():
        if kind in ("counter", "histogram"):
            assert re.search(r"_(seconds|events|duplicates|repeats|failures|letters)(_total)?$", name), name
        if "age" in name.split("_"):
            assert name.endswith("_seconds"), name
