"""Events for the tests of a projection's rules."""

from relay.projection.rules.incoming import Incoming, read


def event(stream_seq: int, *, seq: int | None = None, key: str | None = None, **headers: str) -> Incoming:
    """Make an event as a message brings it; header names with underscores for dashes."""
    known = {name.replace("_", "-"): value for name, value in headers.items()}
    if seq is not None:
        known["Outbox-Seq"] = str(seq)
    if key is not None:
        known["Outbox-Key"] = key
    return read(stream_seq, stream_seq * 1_000, "orders.placed", known, b"{}")
