"""Metrics: names, labels, and what they cost."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from relay.observe.distribution import LATENCY_BUCKETS_S
from relay.observe.exposition import write
from relay.observe.metrics import CLASSES, Metrics
from relay.observe.snapshot import ConsumerView, HeldView, Snapshot, TermView
from relay.outcomes import FailureClass
from tests.support.samples import sample

SNAPSHOT = Snapshot(
    role="active",
    postgres_up=True,
    bell=True,
    last_progress=0.0,
    term=TermView(
        backlog=7,
        in_flight=1,
        waiting=2,
        retrying=3,
        watermark=40,
        watermark_at=1_700_000_000.0,
        shards=64,
        nats_trouble=None,
    ),
)


def term(**changes: Any) -> Snapshot:
    """Return the snapshot with another term."""
    return replace(SNAPSHOT, term=replace(SNAPSHOT.term, **changes))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return sample(metrics.collect(), f"outbox_relay_{name}", labels)


def test_every_series_with_a_known_label_is_there_at_zero() -> None:
    metrics = Metrics()
    for failure_class in CLASSES:
        assert value(metrics, "failures_total", **{"class": failure_class}) == 0
    for reason in ("subject", "headers", "size", "refused", "attempts", "configuration"):
        assert value(metrics, "dead_letters_total", reason=reason) == 0
    for stage in ("fetch", "publish", "settle"):
        assert value(metrics, "stage_duration_seconds_count", stage=stage) == 0
    for component in ("postgres", "bell", "nats"):
        assert value(metrics, "connection_up", component=component) == 0
    assert value(metrics, "published_events_total") == 0
    assert value(metrics, "delivery_latency_seconds_count") == 0


def test_the_classes_are_those_of_the_failures() -> None:
    assert set(CLASSES) == {str(failure_class) for failure_class in FailureClass}


def test_counts_add_up() -> None:
    metrics = Metrics()
    metrics.fetched(5)
    metrics.delivered([0.001, 0.0011, 7200.0, -1.0], duplicates=2)
    for _ in range(3):
        metrics.failed("outage")
    metrics.dead("size")
    metrics.stage("fetch", 0.3)
    metrics.connection("nats", True)
    assert value(metrics, "fetched_events_total") == 5
    assert value(metrics, "published_events_total") == 4
    assert value(metrics, "duplicates_total") == 2
    assert value(metrics, "failures_total", **{"class": "outage"}) == 3
    assert value(metrics, "dead_letters_total", reason="size") == 1
    assert value(metrics, "stage_duration_seconds_sum", stage="fetch") == 0.3
    assert value(metrics, "connection_up", component="nats") == 1


def test_a_latency_falls_into_the_bucket_whose_bound_it_does_not_pass() -> None:
    metrics = Metrics()
    metrics.delivered([0.001, 0.0011, 7200.0, -1.0], duplicates=0)
    assert value(metrics, "delivery_latency_seconds_bucket", le="0.001") == 2
    assert value(metrics, "delivery_latency_seconds_bucket", le="0.002") == 3
    assert value(metrics, "delivery_latency_seconds_bucket", le="3600.0") == 3
    assert value(metrics, "delivery_latency_seconds_bucket", le="+Inf") == 4
    assert value(metrics, "delivery_latency_seconds_count") == 4
    assert value(metrics, "delivery_latency_seconds_sum") == pytest.approx(7200.0021)


def test_the_buckets_reach_from_a_millisecond_to_an_hour() -> None:
    assert (LATENCY_BUCKETS_S[0], LATENCY_BUCKETS_S[-1]) == (0.001, 3600.0)
    assert list(LATENCY_BUCKETS_S) == sorted(LATENCY_BUCKETS_S)


def test_labels_stay_few_whatever_is_handed_in() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.dead(f"reason {number}")
    (dead,) = [family for family in metrics.collect() if family.name == "outbox_relay_dead_letters"]
    assert len(dead.samples) <= 33
    assert (value(metrics, "dead_letters_total", reason="other") or 0) > 900


def test_gauges_are_read_at_the_scrape() -> None:
    metrics = Metrics()
    assert value(metrics, "backlog_events") is None
    now = SNAPSHOT
    metrics.watch(lambda: now)
    assert value(metrics, "backlog_events") == 7
    assert value(metrics, "oldest_pending_age_seconds") == 0
    created_at = time.time() - 60
    hold = HeldView("capacity", 1, 4)
    now = replace(
        SNAPSHOT,
        role="standby",
        term=replace(SNAPSHOT.term, backlog=8, oldest_pending_at=created_at, held=(hold,)),
    )
    assert value(metrics, "backlog_events") == 8
    assert value(metrics, "oldest_pending_timestamp_seconds") == created_at
    assert value(metrics, "oldest_pending_age_seconds") == pytest.approx(60, abs=5)
    assert value(metrics, "role", role="standby") == 1
    assert value(metrics, "role", role="active") == 0
    assert value(metrics, "holds", **{"class": "capacity"}) == 1
    assert value(metrics, "held_events", **{"class": "capacity"}) == 4
    assert value(metrics, "holds", **{"class": "outage"}) == 0
    assert value(metrics, "watermark_seq") == 40


def test_both_expositions_can_be_read() -> None:
    metrics = Metrics()
    metrics.watch(lambda: SNAPSHOT)
    _, plain = write(metrics.collect(), "text/plain")
    families = list(text_string_to_metric_families(plain.decode()))
    assert all(family.documentation for family in families)
    assert {"outbox_relay_build_info", "outbox_relay_delivery_latency_seconds"} <= {f.name for f in families}
    _, openmetrics = write(metrics.collect(), "application/openmetrics-text; version=1.0.0")
    parse: Callable[[str], Iterable[Metric]] = openmetrics_families
    assert {family.name for family in parse(openmetrics.decode())} == {family.name for family in metrics.collect()}


def test_ages_are_of_what_is_old_and_nought_without() -> None:
    metrics = Metrics()
    metrics.watch(lambda: SNAPSHOT)
    for name in ("oldest_pending", "oldest_retry", "oldest_gap"):
        assert value(metrics, f"{name}_age_seconds") == 0
    now = time.time()
    later = term(oldest_retry_at=now - 30, gap_since=now - 7, held_keys=4, blocked_keys=2)
    metrics.watch(lambda: later)
    assert value(metrics, "oldest_retry_age_seconds") == pytest.approx(30, abs=5)
    assert value(metrics, "oldest_gap_age_seconds") == pytest.approx(7, abs=5)
    assert value(metrics, "held_keys") == 4
    assert value(metrics, "blocked_keys") == 2


def test_a_consumer_is_behind_by_the_age_of_its_first_message() -> None:
    metrics = Metrics()
    metrics.consumers_seen(
        (
            ConsumerView("ORDERS", "behind", 3, 2, time.time() - 60),
            ConsumerView("ORDERS", "done", 0, 0, None),
            ConsumerView("ORDERS", "unreadable", 1, 0, None),
        )
    )
    age = "consumer_oldest_unacknowledged_age_seconds"
    assert value(metrics, "consumer_pending_events", stream="ORDERS", consumer="behind") == 3
    assert value(metrics, "consumer_unacknowledged_events", stream="ORDERS", consumer="behind") == 2
    assert value(metrics, age, stream="ORDERS", consumer="behind") == pytest.approx(60, abs=5)
    assert value(metrics, age, stream="ORDERS", consumer="done") == 0
    assert value(metrics, age, stream="ORDERS", consumer="unreadable") is None


def test_trouble_is_named_by_what_is_in_the_way() -> None:
    hold = HeldView("capacity", 1, 1)
    assert SNAPSHOT.troubles() == set()
    assert term(held=(hold,)).troubles() == {"capacity"}
    assert term(nats_trouble="refused").troubles() == {"outage"}
    assert replace(term(nats_trouble="refused"), role="standby").troubles() == set()
    assert replace(term(held=(hold,)), postgres_up=False).troubles() == {"capacity", "database"}


def test_seconds_of_trouble_add_up_by_class() -> None:
    metrics = Metrics()
    assert value(metrics, "outage_seconds_total", **{"class": "database"}) == 0
    metrics.trouble({"outage", "capacity"}, 0.25)
    metrics.trouble({"outage"}, 0.5)
    assert value(metrics, "outage_seconds_total", **{"class": "outage"}) == 0.75
    assert value(metrics, "outage_seconds_total", **{"class": "capacity"}) == 0.25


def test_a_loop_that_does_not_turn_is_stalled() -> None:
    metrics = Metrics()
    metrics.watch(lambda: replace(SNAPSHOT, last_progress=time.monotonic()))
    assert value(metrics, "stalled") == 0
    metrics.watch(lambda: replace(SNAPSHOT, last_progress=time.monotonic() - 20))
    assert value(metrics, "stalled") == 1


def test_the_objectives_are_shown_beside_what_is_judged_by_them() -> None:
    metrics = Metrics(delivery_objective_s=2.5, consumer_objective_s=10)
    assert value(metrics, "delivery_objective_seconds") == 2.5
    assert value(metrics, "consumer_objective_seconds") == 10


@pytest.mark.parametrize("created_at", [-math.inf, math.inf])
def test_what_says_of_no_moment_when_it_was_created_is_never_young(created_at: float) -> None:
    metrics = Metrics()
    metrics.watch(lambda: term(oldest_pending_at=created_at, oldest_retry_at=created_at))
    assert value(metrics, "oldest_pending_age_seconds") == math.inf
    assert value(metrics, "oldest_retry_age_seconds") == math.inf
    assert value(metrics, "oldest_pending_timestamp_seconds") == -math.inf
    assert b"oldest_pending_age_seconds +Inf" in write(metrics.collect(), "text/plain")[1]
    metrics.delivered([time.time() - created_at], 0)
    assert value(metrics, "delivery_latency_seconds_bucket", le="3600.0") == 0
    assert value(metrics, "delivery_latency_seconds_bucket", le="+Inf") == 1


def test_what_was_created_in_1970_is_old() -> None:
    metrics = Metrics()
    metrics.watch(lambda: term(oldest_pending_at=0.0))
    assert (value(metrics, "oldest_pending_age_seconds") or 0) > 1e9
