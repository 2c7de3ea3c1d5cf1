"""What NATS and the envelopes get of the configuration."""

import logging

from pydantic import SecretStr

from relay.config.settings import Settings
from relay.jetstream.client import NatsOptions
from relay.rules.cloudevents import CloudEvents
from relay.rules.envelopes import Envelopes

log = logging.getLogger(__name__)


def nats_options(settings: Settings) -> NatsOptions:
    """Give the part of the settings that a connection to NATS needs."""
    nats = settings.nats
    return NatsOptions(
        servers=nats.servers,
        name=nats.name,
        user=nats.user,
        password=_secret(nats.password),
        password_file=nats.password_file,
        token=_secret(nats.token),
        token_file=nats.token_file,
        nkey_seed_file=nats.nkey_seed_file,
        creds_file=nats.creds_file,
        tls_ca_file=nats.tls_ca_file,
        tls_cert_file=nats.tls_cert_file,
        tls_key_file=nats.tls_key_file,
        tls_first=nats.tls_first,
        inbox_prefix=nats.inbox_prefix,
        connect_timeout_s=nats.connect_timeout_s,
        ping_interval_s=nats.ping_interval_s,
    )


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def envelopes(settings: Settings, side_subject: str | None = None) -> Envelopes:
    """Give what makes subject and headers of events.

    Args:
        side_subject: A template that a person has chosen: it goes over the configured one and what that allows.
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
