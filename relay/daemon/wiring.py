"""The parts of the configuration, for the parts of a term."""

from relay.config.options import nats_options
from relay.config.settings import Settings
from relay.daemon.term import TermOptions
from relay.delivery.fetcher import FetchOptions
from relay.delivery.publisher import PublishOptions
from relay.delivery.refusals import RefusalOptions
from relay.integrity.reconciler import HealingOptions
from relay.jetstream.managed_stream import ManagedStream
from relay.maintenance.announcer import AnnounceOptions
from relay.maintenance.consumer_lag import ConsumerOptions
from relay.maintenance.retention import RetentionOptions

# How often a replica says that it lives and looks whether the work is shared fairly, seconds.
BEAT_S = 1.0


def term_options(settings: Settings) -> TermOptions:
    delivery, failures, stream = settings.delivery, settings.failures, settings.stream
    return TermOptions(
        fetch=FetchOptions(
            fetch_batch=delivery.fetch_batch,
            buffer_events=delivery.buffer_events,
            buffer_bytes=delivery.buffer_bytes,
            poll_max_s=delivery.poll_max_s,
            on_dead=failures.on_dead,
        ),
        publish=PublishOptions(
            strategy=delivery.strategy,
            window=delivery.window,
            atomic_batch=delivery.atomic_batch,
            atomic_in_flight=delivery.atomic_in_flight,
            ack_timeout_s=delivery.ack_timeout_s,
        ),
        refusals=RefusalOptions(
            max_attempts=failures.max_attempts,
            backoff_base_s=failures.backoff_base_s,
            backoff_max_s=failures.backoff_max_s,
            on_dead=failures.on_dead,
            on_misconfigured=failures.on_misconfigured,
            held_events=delivery.held_events,
            held_bytes=delivery.buffer_bytes // 2,
        ),
        healing=HealingOptions(on_loss=settings.healing.on_loss, check_every_s=settings.healing.check_every_s),
        retention=RetentionOptions(
            delivered_age_s=settings.retention.delivered_age_s,
            dead_age_s=settings.retention.dead_age_s,
            discarded_only=failures.on_dead == "block",
        ),
        consumers=ConsumerOptions(**settings.consumers.model_dump(exclude={"objective_s"})),
        nats=nats_options(settings),
        stream=ManagedStream(**stream.model_dump(exclude={"manage"})) if stream.manage else None,
        dead_subject=failures.dead_subject,
        outbox=settings.postgres.table,
        announce=AnnounceOptions(**settings.watermark.model_dump()),
        ordered=delivery.ordering == "key",
        hold_base_s=failures.hold_base_s,
        hold_max_s=failures.hold_max_s,
        beat_s=min(BEAT_S, settings.lease.ttl_s / 3),
        shutdown_timeout_s=delivery.shutdown_timeout_s,
    )
