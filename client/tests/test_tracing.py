"""An event carries the trace of the span in which it was published, as OpenTelemetry itself writes it."""

import subprocess
import sys

import psycopg
from conftest import Stored
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from outbox_client import Event, Outbox

OUTBOX = Outbox()
SPAN = NonRecordingSpan(
    SpanContext(0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7, False, TraceFlags(1), TraceState([("v", "1")]))
)
WITHOUT = """
import sys
from outbox_client.tracing import traced
assert traced({"a": "b"}) == {"a": "b"} and traced(None) is None
assert not any(name.startswith("opentelemetry") for name in sys.modules)
"""


def test_the_current_span_travels_as_the_propagator_writes_it(producer: str, stored: Stored) -> None:
    expected: dict[str, str] = {}
    with psycopg.connect(producer) as conn, trace.use_span(SPAN):
        TraceContextTextMapPropagator().inject(expected)
        OUTBOX.publish(conn, Event("orders.placed", 1, headers={"tenant": "a"}))
        OUTBOX.publish_many(conn, [Event("orders.placed", 2)])
    assert set(expected) == {"traceparent", "tracestate"}
    assert [row[4] for row in stored()] == [{"tenant": "a", **expected}, expected]


def test_a_trace_that_was_given_stays(producer: str, stored: Stored) -> None:
    given = {"Traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-00"}
    with psycopg.connect(producer) as conn, trace.use_span(SPAN):
        OUTBOX.publish(conn, Event("orders.placed", 1, headers=given))
    assert [row[4] for row in stored()] == [given]


def test_no_span_adds_nothing(producer: str, stored: Stored) -> None:
    with psycopg.connect(producer) as conn:
        OUTBOX.publish(conn, Event("orders.placed", 1))
    assert [row[4] for row in stored()] == [None]


def test_an_application_without_opentelemetry_never_loads_it() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT], check=True)
