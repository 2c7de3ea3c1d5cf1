"""What a session must be like for our statements, whatever a DBA or the environment has set.

A setting may come from `ALTER ROLE`, `ALTER DATABASE`, `PGOPTIONS` and its like, or the server's configuration. Most of
them change what a statement returns, or whether it may run at all. So each new session sets those that matter
(`sql/queries/connection/pin.sql`). Two are left alone, since they are decisions: the search path, which leads to a
table without a schema, and `default_transaction_read_only`, by which a DBA forbids writes for a while.

Behind a pooler the session belongs to others too, so nothing is set there. What differs is reported instead.
"""

import re
from collections.abc import Iterable, Sequence

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from relay.errors import SchemaError
from relay.postgres.tables import Tables

_PIN = Tables().query("connection/pin")
_ENCODING = Tables().query("connection/encoding")

_UNKNOWN_PARAMETER = re.compile(r'invalid (?:connection option|URI query parameter:) "(\w+)"')

# A peer that has crashed is noticed within 5 + 3 * 2 s, also while nothing is asked.
_KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


def conninfo(dsn: str, application_name: str, connect_timeout_s: float) -> str:
    """Return the address with what every connection of ours asks for.

    Args:
        dsn: URL or ``name=value`` pairs.
        application_name: Seen in ``pg_stat_activity``.
        connect_timeout_s: Seconds for each host of the address; libpq takes whole ones, 2 at least.

    Raises:
        psycopg.ProgrammingError: The address is malformed. The text of the error may repeat it, password and all.
    """
    return make_conninfo(
        dsn,
        # Of several hosts the primary: a standby would answer reads, and show less than there is.
        target_session_attrs=conninfo_to_dict(dsn).get("target_session_attrs", "primary"),
        # At login, since a pooler knows this one and keeps it for each of its clients.
        client_encoding="UTF8",
        application_name=application_name,
        connect_timeout=max(2, round(connect_timeout_s)),
        **_KEEPALIVES,
    )


def address_fault(error: psycopg.ProgrammingError) -> str:
    """Return what is wrong with an address that libpq cannot read, and nothing of it that may be a secret.

    What libpq says repeats what it cannot read. Only the name of a parameter is repeated that is nearly one of its own.
    """
    found = _UNKNOWN_PARAMETER.search(str(error))
    if found is None:
        return "is neither a URL nor name=value pairs; its text is not shown"
    from difflib import get_close_matches  # for a fault alone: a relay at rest has no use for it

    known = [option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()]
    near = get_close_matches(found[1], known, n=1, cutoff=0.7)
    said = f" {found[1]}" if near else ""
    hint = f"; did you mean {near[0]}?" if near else "; its text is not shown"
    return f"has a parameter{said} that libpq does not know{hint}"


async def pin(conn: psycopg.AsyncConnection[tuple[object, ...]]) -> tuple[bool, list[str]]:
    """Set what matters in a new session.

    Returns:
        Whether the session is ours and no pooler's, and the settings that are not as they should be, since it is one's.

    Raises:
        psycopg.Error: The session cannot be used.
    """
    async with psycopg.AsyncRawCursor(conn) as cursor:
        await cursor.execute(_PIN, (conn.info.backend_pid,))
        rows = await cursor.fetchall()
    return all(is_ours for *_, is_ours in rows), _different(rows)


def pin_now(conn: psycopg.Connection[tuple[object, ...]]) -> list[str]:
    """Do as `pin`, for a connection of a command."""
    return _different(psycopg.RawCursor(conn).execute(_PIN, (conn.info.backend_pid,)).fetchall())


def check_encoding(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    """Refuse a database that does not encode text as UTF-8.

    Raises:
        SchemaError: It does not.
    """
    row = psycopg.RawCursor(conn).execute(_ENCODING).fetchone()
    refuse_encoding("" if row is None else str(row[0]))


def refuse_encoding(name: str) -> None:
    """Refuse an encoding other than UTF-8: topics, keys and reasons are any text, and messages are UTF-8.

    Raises:
        SchemaError: It is another one.
    """
    if name != "UTF8":
        raise SchemaError(
            f"this database encodes text as {name}: the outbox needs one that was made with ENCODING 'UTF8', since"
            " topics, keys and payloads may hold any text"
        )


def _different(rows: Iterable[Sequence[object]]) -> list[str]:
    return [f"{name} = {now}" for name, wanted, now, *_ in rows if now != wanted]
