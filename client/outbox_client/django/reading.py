"""Read one's own writes through Django's connections; see `outbox_client.reading`."""

import uuid
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from outbox_client.django.configured import configured
from outbox_client.django.publishing import connection_of
from outbox_client.read_model import Waited, look_at, parsed, token_in, token_of, until


def token(event_id: uuid.UUID, *, using: str | None = None) -> str:
    """Return the token of a published event, in the ``atomic()`` block that publishes it.

    Args:
        event_id: What `publish` has returned.
        using: The alias of the database; None: where the router writes the outbox.

    Raises:
        LookupError: There is no such event.
        NotInTransaction: There is no transaction.
    """
    with connection_of(using, "token").cursor() as cursor:
        cursor.execute(token_of(configured().table, "%s"), [str(event_id)])
        return token_in(event_id, cursor.fetchone())


def wait_applied(projection: str, token: str, *, timeout_s: float = 2.0, using: str = DEFAULT_DB_ALIAS) -> Waited:
    """Wait until a read model includes an event; see `outbox_client.reading.wait_applied`.

    Args:
        projection: The projection's name.
        token: Made by `token`.
        timeout_s: The longest to wait, in seconds; 0 looks once.
        using: The alias of the database of the read models.

    Raises:
        ValueError: The token is none.
        NoProjection: There is no such projection.
    """
    params = [projection, *parsed(token)]

    def look() -> Any:
        with connections[using].cursor() as cursor:
            cursor.execute(look_at("%s", "%s", "%s"), params)
            return cursor.fetchone()

    return until(projection, look, timeout_s)
