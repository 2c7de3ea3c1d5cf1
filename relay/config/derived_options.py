"""What NATS and the envelopes get of the configuration."""

import logging
from typing import Any

from pydantic import SecretStr

from relay.config.settings import Settings
from relay.jetstream.client import NatsOptions
from relay.rules.cloudevents import CloudEvents
from relay.rules.envelopes import Envelopes

log = logging.getLogger(__name__)


def nats_options(settings: Settings) -> NatsOptions:
    """Return the part of the settings that a connection to NATS needs."""
    return NatsOptions(**{name: _plain(value) for name, value in settings.nats})


def _plain(value: Any) -> Any:
    """Return a setting as it is used, a secret in the clear."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def envelopes(settings: Settings, side_subject: str | None = None) -> Envelopes:
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
