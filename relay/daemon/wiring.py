"""The parts of the configuration that a part of a term takes in another shape."""

import asyncio
from typing import TYPE_CHECKING

from relay.jetstream.managed_stream import ManagedStream
from relay.rules.database.database_state import DatabaseState
from relay.rules.failure.holds import Holds
from relay.rules.in_hand import InHand, Limits
from relay.rules.order.lanes import Lanes

if TYPE_CHECKING:
    from relay.config.settings import Settings

# How often a replica reports that it lives and checks whether the work is shared fairly, seconds.
BEAT_S = 1.0


def new_in_hand(settings: "Settings", watermark: int, database: DatabaseState) -> InHand:
    """Return an empty memory for a term that begins above `watermark`, within the configured limits."""
    delivery, failures = settings.delivery, settings.failures
    return InHand(
        lanes=Lanes(ordered=delivery.ordering == "key", stuck_limit=delivery.held_events),
        holds=Holds(base_s=failures.hold_base_s, max_s=failures.hold_max_s),
        limits=Limits(events=delivery.buffer_events, payload_bytes=delivery.buffer_bytes, waiting=delivery.held_events),
        signal=asyncio.Event,
        watermark=watermark,
        database=database,
    )


def managed_stream(settings: "Settings") -> ManagedStream | None:
    """Return the stream to be made or adjusted; None leaves streams alone."""
    stream = settings.stream
    options = {name: value for name, value in vars(stream).items() if name != "manage"}
    return ManagedStream(**options) if stream.manage else None
