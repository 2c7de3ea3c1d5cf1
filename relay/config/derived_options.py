"""What NATS and the envelopes get of the configuration."""

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from relay.jetstream.client import NatsOptions
from relay.rules.sending.cloudevents import CloudEvents
from relay.rules.sending.envelopes import Envelopes
from relay.rules.settling.deletable_dead import DeletableDead

if TYPE_CHECKING:
    from relay.config.settings import Settings

log = logging.getLogger(__name__)


def nats_options(settings: "Settings") -> NatsOptions:
    """Return the part of the settings that a connection to NATS needs."""
    nats = settings.nats
    plain: dict[str, Any] = dict(vars(nats))
    for name, secret in (("password", nats.password), ("token", nats.token)):
        plain[name] = None if secret is None else secret.get_secret_value()
    return NatsOptions(**plain)


def agreed(settings: "Settings") -> dict[str, object]:
    """Return what all relays of one outbox share, by group (`relay.rules.replicas.differing_settings`); no secrets."""
    failures, nats, stream = settings.failures, settings.nats, settings.stream
    servers = sorted(urlsplit(server).netloc.rpartition("@")[2].lower() for server in nats.servers)
    return {
        "subjects": [settings.subject.template, list(settings.subject.allow)],
        "headers": [_plain(settings.headers), _plain(settings.cloudevents)],
        "failures": [
            settings.delivery.ordering,
            failures.on_dead,
            failures.max_attempts,
            failures.on_misconfigured,
            failures.dead_subject,
        ],
        "nats": [servers, nats.user, _plain(stream) if stream.manage else None],
        "keeping": [
            _plain(settings.retention),
            settings.healing.on_loss,
            settings.watermark.subject,
            settings.lease.ttl_s,
        ],
    }


def _plain(section: object) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(section).items()}


def deletable_dead(settings: "Settings") -> DeletableDead:
    """Return which old dead letters may be deleted."""
    failures = settings.failures
    return DeletableDead(discarded_only=failures.on_dead == "block", copied_only=bool(failures.dead_subject))


def envelopes(settings: "Settings", side_subject: str | None = None) -> Envelopes:
    """Return what makes subject and headers of events.

    Args:
        side_subject: A template that an operator has chosen: it overrides the configured one and what that allows.
    """
    ce = settings.cloudevents
    return Envelopes(
        template=side_subject or settings.subject.template,
        allow=() if side_subject else settings.subject.allow,
        add_key=settings.headers.key,
        add_seq=settings.headers.seq,
        add_created_at=settings.headers.created_at,
        allow_nats=settings.headers.allow_nats,
        cloud_events=CloudEvents(ce.source, type_prefix=ce.type_prefix, content_type=ce.content_type)
        if ce.source
        else None,
    )
