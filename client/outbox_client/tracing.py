"""The trace that an event belongs to, from OpenTelemetry, if the application uses it."""

import sys
from collections.abc import Mapping


def traced(headers: Mapping[str, object] | None) -> Mapping[str, object] | None:
    """Add ``traceparent`` and ``tracestate`` of the current span, unless the headers hold a trace already.

    OpenTelemetry is never imported here: without its module loaded, there is no current span.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return headers
    context = trace.get_current_span().get_span_context()
    if not context.is_valid or (headers and any(name.lower() in ("traceparent", "tracestate") for name in headers)):
        return headers
    added = dict(headers or {})
    added["traceparent"] = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    if state := context.trace_state.to_header():
        added["tracestate"] = state
    return added
