"""The parts of the configuration that a part of a term takes in another shape."""

import logging

from relay.config.settings import Settings
from relay.delivery.fetcher import FetchOptions
from relay.delivery.publisher import PublishOptions
from relay.delivery.refusals import RefusalOptions
from relay.jetstream.managed_stream import ManagedStream

log = logging.getLogger(__name__)

# How often a replica reports that it lives and checks whether the work is shared fairly, seconds.
BEAT_S = 1.0


def fetch_options(settings: Settings) -> FetchOptions:
    """Return what the fetcher needs."""
    delivery = settings.delivery
    return FetchOptions(
        fetch_batch=delivery.fetch_batch,
        buffer_events=delivery.buffer_events,
        buffer_bytes=delivery.buffer_bytes,
        poll_max_s=delivery.poll_max_s,
        on_dead=settings.failures.on_dead,
    )


def publish_options(settings: Settings) -> PublishOptions:
    """Return what the publisher needs."""
    delivery = settings.delivery
    return PublishOptions(
        strategy=delivery.strategy,
        window=delivery.window,
        atomic_batch=delivery.atomic_batch,
        atomic_in_flight=delivery.atomic_in_flight,
        ack_timeout_s=delivery.ack_timeout_s,
    )


def refusal_options(settings: Settings) -> RefusalOptions:
    """Return what decides about refused events."""
    delivery, failures = settings.delivery, settings.failures
    return RefusalOptions(
        max_attempts=failures.max_attempts,
        backoff_base_s=failures.backoff_base_s,
        backoff_max_s=failures.backoff_max_s,
        on_dead=failures.on_dead,
        on_misconfigured=failures.on_misconfigured,
        held_events=delivery.held_events,
        held_bytes=delivery.buffer_bytes // 2,
    )


def managed_stream(settings: Settings) -> ManagedStream | None:
    """Return the stream to be made or adjusted; None leaves streams alone."""
    stream = settings.stream
    return ManagedStream(**stream.model_dump(exclude={"manage"})) if stream.manage else None
