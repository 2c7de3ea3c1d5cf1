"""Events and commands through Django's connections: add ``outbox_client.django`` to ``INSTALLED_APPS``.

``OUTBOX_CLIENT`` in the settings holds the arguments of `outbox_client.Outbox`, if the relay is configured differently.
"""

from outbox_client.django.commands import once, remember
from outbox_client.django.publishing import publish, publish_many
from outbox_client.django.reading import token, wait_applied
from outbox_client.errors import InvalidEvent, KeyReused, NotBegun, NotInTransaction

__all__ = [
    "InvalidEvent",
    "KeyReused",
    "NotBegun",
    "NotInTransaction",
    "once",
    "publish",
    "publish_many",
    "remember",
    "token",
    "wait_applied",
]
