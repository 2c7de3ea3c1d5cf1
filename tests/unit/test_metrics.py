"""Metrics: names, labels, and what they cost."""

import time
from dataclasses import replace

import pytest
from prometheus_client import generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from relay.failures import FailureClass
from relay.metrics import CLASSES, LATENCY_BUCKETS_S, Metrics
from relay.progress import HoldView, Snapshot

SNAPSHOT = Snapshot(
    role="active",
    backlog=7,
    oldest_pending_at=None,
    in_flight=1,
    waiting=2,
    retrying=3,
    watermark=40,
    holds=(),
    postgres_up=True,
    nats_up=True,
    bell=True,
    last_progress=0.0,
    stalled=False,
)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"outbox_relay_{name}", labels)


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
    metrics.failed("outage", 3)
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
    lines = [line for line in generate_latest(metrics.registry).decode().splitlines() if "dead_letters_total{" in line]
    assert len(lines) <= 33
    assert (value(metrics, "dead_letters_total", reason="other") or 0) > 900


def test_gauges_are_read_at_the_scrape() -> None:
    metrics = Metrics()
    assert value(metrics, "backlog_events") is None
    now = SNAPSHOT
    metrics.watch(lambda: now)
    assert value(metrics, "backlog_events") == 7
    assert value(metrics, "oldest_pending_age_seconds") == 0
    created_at = time.time() - 60
    hold = HoldView("stream A", "capacity", 0.0, "full", 4)
    now = replace(SNAPSHOT, backlog=8, oldest_pending_at=created_at, role="standby", holds=(hold,))
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
    families = list(text_string_to_metric_families(generate_latest(metrics.registry).decode()))
    assert all(family.documentation for family in families)
    assert {"outbox_relay_build_info", "outbox_relay_delivery_latency_seconds"} <= {f.name for f in families}
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    assert encode(metrics.registry).endswith(b"# EOF\n")
