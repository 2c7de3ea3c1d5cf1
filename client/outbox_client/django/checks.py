"""The system check: does the outbox exist, and may this application write it?

Django runs it by ``manage.py check --database default`` and before it migrates.
"""

from collections.abc import Collection
from typing import Any

from django.core.checks import Error
from django.db import connections, router

from outbox_client.django.models import OutboxEvent
from outbox_client.django.publishing import configured
from outbox_client.statements import COLUMNS


def check_outbox(databases: Collection[str] | None = None, **_: Any) -> list[Error]:
    """Report ``outbox_client.E001`` if events cannot be written where the router writes them."""
    alias = router.db_for_write(OutboxEvent)
    if alias not in (databases or ()):
        return []
    table = configured().table
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT attname, format_type(atttypid, NULL), has_column_privilege(attrelid, attnum, 'INSERT') "
            "FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            [table],
        )
        found = {name: (kind, granted) for name, kind, granted in cursor.fetchall()}
    if not found:
        return [_error(f"table {table} does not exist in database {alias!r}", "run relay migrate")]
    faults = [f"column {name} is missing" for name in COLUMNS if name not in found]
    faults += [f"column {name} may not be written" for name in COLUMNS if name in found and not found[name][1]]
    if "payload" in found and found["payload"][0] != configured().payload:
        faults.append(f"the payload is {found['payload'][0]}, and OUTBOX_CLIENT says {configured().payload}")
    hint = "run relay migrate, and grant outbox_producer to the application's login"
    return [_error(f"table {table} in database {alias!r}: {fault}", hint) for fault in faults]


def _error(text: str, hint: str) -> Error:
    return Error(text, hint=hint, id="outbox_client.E001")
