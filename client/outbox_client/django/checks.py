"""The system checks: are the settings right, does the outbox exist, and may this application write it?

Django asks the database by ``manage.py check --database default`` and before it migrates, which an error would keep it
from. But the outbox is made by ``relay migrate``, which may come later, and a login that migrates need not be one that
publishes. So what is found in the database is a warning.
"""

from collections.abc import Collection
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db import connections, router

from outbox_client.django.configured import configured, faults, given
from outbox_client.django.models import OutboxEvent
from outbox_client.statements import COLUMNS


def check_settings(**_: Any) -> list[CheckMessage]:
    """Report an ``outbox_client.E001`` for each entry of ``OUTBOX_CLIENT`` in the settings that is wrong."""
    return [Error(said, hint="see the README of outbox-client", id="outbox_client.E001") for said in faults(given())]


def check_outbox(databases: Collection[str] | None = None, **_: Any) -> list[CheckWarning]:
    """Report ``outbox_client.W001`` if events cannot be written where the router or ``using`` writes them."""
    if check_settings():
        return []  # which table is meant is not known
    written = dict.fromkeys([router.db_for_write(OutboxEvent), *configured().databases])
    return [one for alias in written if alias in (databases or ()) for one in _check(alias)]


def _check(alias: str) -> list[CheckWarning]:
    if connections[alias].vendor != "postgresql":
        return [
            _warning(f"database {alias!r} is no PostgreSQL", "let a router send OutboxEvent to the one with the outbox")
        ]
    table = configured().table
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT attname, format_type(atttypid, NULL), has_column_privilege(attrelid, attnum, 'INSERT') "
            "FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            [table],
        )
        found = {name: (kind, granted) for name, kind, granted in cursor.fetchall()}
    if not found:
        return [_warning(f"table {table} does not exist in database {alias!r}", "run relay migrate")]
    where = f"table {table} in database {alias!r}:"
    warnings = []
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        warnings.append(_warning(f"{where} it has no {', '.join(missing)}", "run relay migrate"))
    refused = [name for name in COLUMNS if name in found and not found[name][1]]
    if refused:
        hint = "grant the role outbox_producer to the login of the application"
        warnings.append(_warning(f"{where} this login may not write {', '.join(refused)}", hint))
    if "payload" in found and found["payload"][0] != configured().payload:
        text = f"{where} the payload is {found['payload'][0]}, and OUTBOX_CLIENT says {configured().payload}"
        warnings.append(_warning(text, f"set OUTBOX_CLIENT['payload'] to {found['payload'][0]!r}"))
    return warnings


def _warning(text: str, hint: str) -> CheckWarning:
    return CheckWarning(text, hint=hint, id="outbox_client.W001")
