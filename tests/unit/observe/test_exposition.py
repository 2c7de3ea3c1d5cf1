"""What is written for Prometheus is what its own library writes."""

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from relay.observe.exposition import Family, write
from relay.observe.process_metrics import process_metrics
from tests.support.processes import linux_alone

PLAIN = ("", "*/*", "text/plain", "text/plain;version=0.0.4")
# A Prometheus of today.
TODAY = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
OPEN = (
    "application/openmetrics-text",
    "application/openmetrics-text; version=1.0.0",
    "text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.9",
    TODAY,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.one_of(st.integers(0, 10**18), st.floats(allow_nan=False), st.just(math.nan))


class _Theirs(Collector):
    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def theirs(accept: str, *families: Metric) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Theirs(*families))
    encode, _ = choose_encoder(accept)
    return encode(registry)


@pytest.mark.parametrize("accept", [PLAIN[0], OPEN[1]])
@given(text=texts, label=texts, value=numbers, counts=st.lists(st.integers(0, 10**9), min_size=2, max_size=2))
def test_it_is_what_prometheus_client_writes(
    accept: str, text: str, label: str, value: float, counts: list[int]
) -> None:
    buckets = [("0.5", float(counts[0])), ("+Inf", float(sum(counts)))]
    counter, gauge = CounterMetricFamily("a_events", text, labels=["b", "a"]), GaugeMetricFamily("b", text)
    counter.add_metric([label, "x"], value)
    gauge.add_metric([], value)
    histogram = HistogramMetricFamily("c_seconds", text, labels=["stage"])
    histogram.add_metric([label], buckets, value)
    info = InfoMetricFamily("d_build", text)
    info.add_metric([], {"version": label})
    ours = [
        Family("counter", "a_events", text, ["b", "a"]).add(value, label, "x"),
        Family("gauge", "b", text).add(value),
        Family("histogram", "c_seconds", text, ["stage"]).add_buckets(buckets, value, label),
        Family("info", "d_build", text, ["version"]).add(1, label),
    ]
    assert write(ours, accept)[1] == theirs(accept, counter, gauge, histogram, info)


@pytest.mark.parametrize("accept", [*PLAIN, *OPEN])
def test_the_format_is_the_one_that_prometheus_client_would_choose(accept: str) -> None:
    kind, body = write([Family("counter", "a", "b").add(1)], accept)
    assert kind.split(";")[0] == choose_encoder(accept)[1].split(";")[0]
    assert body.endswith(b"# EOF\n") == (accept in OPEN) == ("openmetrics" in kind)


def test_an_old_openmetrics_is_not_written() -> None:
    assert write([], "application/openmetrics-text; version=0.0.1")[0].startswith("text/plain")


@linux_alone
def test_the_process_is_shown_as_prometheus_client_shows_it() -> None:
    expected = list(ProcessCollector(registry=None).collect())
    found = list(process_metrics())
    assert [(one.kind, one.name, one.text) for one in found] == [
        (one.type, one.name, one.documentation) for one in expected
    ]
    assert [one.samples[0].name for one in found] == [one.samples[0].name for one in expected]
    for ours, expect in zip(found, expected, strict=True):
        # What changes between two looks changes by little.
        assert ours.samples[0].value == pytest.approx(expect.samples[0].value, rel=0.1, abs=1), ours.name
