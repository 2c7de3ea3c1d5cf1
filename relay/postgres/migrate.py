"""Bring the outbox in a database to the version of this relay."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from relay.errors import ConfigError, SchemaError
from relay.postgres.server_error import words
from relay.postgres.session import check_encoding
from relay.postgres.tables import Tables, sql_directory
from relay.rules.database.origins import Noticed

PAYLOAD_TYPES = ("jsonb", "json", "text", "bytea")

# Shorter than the pause between two beats of a relay.
_LOOK_S = 0.1
# The code of a RAISE NOTICE that names none.
_OF_A_SCRIPT = "00000"
_NUMBERED = re.compile(r"(\d{4})_(\w+)\.sql")
_OLDEST = re.compile(r"^-- Oldest relay: (\d+)$", re.MULTILINE)
_PAYLOAD_COLUMN = "payload      jsonb       NOT NULL"


class Schema(NamedTuple):
    """What a database says of its outbox.

    Attributes:
        version: The newest migration applied.
        oldest_relay: The version that a relay must know to work here; lower than `version` if the migrations
            above it say that previous relays can work with them.
    """

    version: int
    oldest_relay: int


def _numbered() -> Iterator[tuple[int, Path]]:
    for path in sorted((sql_directory() / "migrations").iterdir()):
        found = _NUMBERED.fullmatch(path.name)
        if found:
            yield int(found[1]), path


def _oldest_relay(path: Path) -> int | None:
    found = _OLDEST.search(path.read_text("utf-8"))
    return int(found[1]) if found else None


def newest_version() -> int:
    """Return the version of the schema that this relay needs."""
    return max(version for version, _ in _numbered())


def _migration(path: Path, tables: Tables) -> str:
    text = path.read_text("utf-8")
    return tables.qualify(text.replace(_PAYLOAD_COLUMN, f"payload      {tables.payload_type:<11} NOT NULL"))


def _tables(table: str, payload_type: str | None) -> Tables:
    if payload_type is None:
        return Tables(table)
    if payload_type not in PAYLOAD_TYPES:
        raise ConfigError([f"payload type {payload_type!r}: must be one of {', '.join(PAYLOAD_TYPES)}"])
    return Tables(table, payload_type)


def script(table: str, payload_type: str | None, bell: bool) -> str:
    """Return everything that `migrate` would run in an empty database, for teams that run their own tool."""
    tables = _tables(table, payload_type)
    parts = ["BEGIN;"]
    if tables.schema is not None:
        parts.append(f"CREATE SCHEMA IF NOT EXISTS {tables.schema};")
    parts.append(tables.file("migrations"))
    for version, path in _numbered():
        applied = tables.file("queries/migrate/applied").replace("$1", str(version)).replace("$2", f"'{path.stem}'")
        parts += [f"-- {path.name}", _migration(path, tables), f"{applied.rstrip()};"]
        oldest = _oldest_relay(path)
        if oldest is not None:
            declared = tables.file("queries/migrate/oldest").replace("$1", str(version)).replace("$2", str(oldest))
            parts.append(f"{declared.rstrip()};")
    parts += [tables.file("bell_on" if bell else "bell_off"), tables.file("roles"), "COMMIT;"]
    return "\n".join(parts) + "\n"


def migrate(conn: psycopg.Connection[Any], table: str, payload_type: str | None, bell: bool) -> list[str]:
    """Apply what is missing, in one transaction, one migrator at a time; doing it again changes nothing.

    Safe while producers and relays work: it waits at most 5 s for a lock on the table, so that nobody queues
    behind it for longer. A newer schema that this relay can work on is left as it is.

    Args:
        table: The table of events.
        payload_type: Of its payload column. None: that of the table, and jsonb if the table is made.
        bell: Whether inserts ring.

    Returns:
        The names of the migrations applied, oldest first; empty if the schema was current.

    Raises:
        ConfigError: The table has another payload type, or it or its companions are another one's. Nothing was changed.
        SchemaError: The database holds a newer version that this relay cannot work on, or is not UTF-8. Nothing was
            changed.
        psycopg.errors.LockNotAvailable: The table was busy for 5 s. Nothing was changed; try again.
    """
    tables = _tables(table, payload_type)
    check_encoding(conn)
    applied: list[str] = []
    with conn.transaction(), psycopg.RawCursor(conn) as cursor:
        cursor.execute("SET LOCAL lock_timeout = '5s'; SET LOCAL client_min_messages = notice")
        cursor.execute(tables.query("migrate/lock"))
        _check_names(cursor, tables)
        _check_payload_type(cursor, tables, payload_type)
        # Even IF NOT EXISTS takes the right to make schemas, which the owner of this one need not have.
        if tables.schema is not None and not _value(cursor, tables.query("migrate/has_schema"), (tables.schema,)):
            cursor.execute(f"CREATE SCHEMA {tables.schema}".encode())
        if not _value(cursor, tables.query("migrate/began")):
            cursor.execute(tables.file("migrations").encode())
        found = schema_of(cursor.execute(tables.query("migrate/schema_version")).fetchone())
        current = 0 if found is None else found.version
        if found is not None and current > newest_version():
            check_schema(found, table)
            return []
        for version, path in _numbered():
            if version > current:
                try:
                    cursor.execute(_migration(path, tables).encode())
                except psycopg.errors.DuplicateTable as error:
                    fault = f"table {table}: {words(error)}, and is no part of an outbox: choose another name"
                    raise ConfigError([fault]) from None
                cursor.execute(tables.query("migrate/applied"), (version, path.stem))
                oldest = _oldest_relay(path)
                if oldest is not None:
                    cursor.execute(tables.query("migrate/oldest"), (version, oldest))
                applied.append(path.stem)
        # If the bell already is as wanted, no lock on the table is asked for.
        if _value(cursor, tables.query("migrate/bell")) != bell:
            cursor.execute(tables.file("bell_on" if bell else "bell_off").encode())
        cursor.execute(tables.file("roles").encode())
    return applied


@contextmanager
def left_undone(conn: psycopg.Connection[Any]) -> Iterator[list[str]]:
    """Return the list that fills with what `migrate` leaves to somebody with more rights, a sentence each."""
    told: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        # PostgreSQL's own notices, such as of a schema that is there already, have a code.
        if notice.sqlstate == _OF_A_SCRIPT and notice.message_primary:
            told.append(notice.message_primary)

    conn.add_notice_handler(hear)
    try:
        yield told
    finally:
        conn.remove_notice_handler(hear)


def new_origin(conn: psycopg.Connection[Any], table: str) -> tuple[str, int]:
    """Begin another history of seqs, after the database was restored to an earlier time; the outbox must be current.

    Waits until every relay that is alive has noticed, some seconds: what is inserted afterwards is of the new origin.

    Returns:
        Its origin, and the seq above which it counts.
    """
    tables = _tables(table, None)
    with psycopg.RawCursor(conn) as cursor:
        with conn.transaction():
            origin, above = cursor.execute(tables.query("migrate/new_origin")).fetchall()[0]
        noticed = Noticed(_alive(conn, cursor, tables))
        while not noticed.by_all(_alive(conn, cursor, tables)):
            time.sleep(_LOOK_S)
    return str(origin), int(above)


def _alive(
    conn: psycopg.Connection[Any], cursor: "psycopg.RawCursor[tuple[Any, ...]]", tables: Tables
) -> dict[str, float]:
    with conn.transaction():
        return dict(cursor.execute(tables.query("migrate/beats")).fetchall())


def missing(conn: psycopg.Connection[Any], table: str, payload_type: str | None) -> list[str]:
    """Return the names of the migrations that `migrate` would apply, oldest first. Changes nothing.

    Raises:
        ConfigError: As `migrate`.
        SchemaError: The database holds a newer version that this relay cannot work on, or is not UTF-8.
    """
    tables = _tables(table, payload_type)
    check_encoding(conn)
    with conn.transaction(), psycopg.RawCursor(conn) as cursor:
        _check_names(cursor, tables)
        _check_payload_type(cursor, tables, payload_type)
        begun = _value(cursor, tables.query("migrate/began"))
        found = schema_of(cursor.execute(tables.query("migrate/schema_version")).fetchone()) if begun else None
    if found is not None and found.version > newest_version():
        check_schema(found, table)
    current = 0 if found is None else found.version
    return [path.stem for version, path in _numbered() if version > current]


def _check_names(cursor: psycopg.RawCursor[Any], tables: Tables) -> None:
    """Refuse a name whose table, or whose companions, are there already and are not of this outbox.

    Raises:
        ConfigError: They are. The companions of ``outbox`` have the names of those of ``outbox_events``.
    """
    twin = tables.twin()
    found, has_twin = cursor.execute(tables.query("migrate/names"), (twin,)).fetchall()[0]
    begun = _value(cursor, tables.query("migrate/began"))
    made = begun and schema_of(cursor.execute(tables.query("migrate/schema_version")).fetchone()) is not None
    migrations = tables.name("migrations")
    if found and not begun:
        fault = f"is there already and is no outbox ({migrations} is not there): choose another name"
    elif made and not found and has_twin:
        fault = f"{migrations} and the other companions would be those of {twin}: choose a name that begins otherwise"
    elif made and not found:
        fault = f"{migrations} says that it was made, and it is gone: restore it, or drop what is left of that outbox"
    else:
        return
    raise ConfigError([f"table {tables.events}: {fault}"])


def _check_payload_type(cursor: psycopg.RawCursor[Any], tables: Tables, wanted: str | None) -> None:
    """Refuse a payload type that an existing table does not have.

    Raises:
        ConfigError: It has another one.
    """
    found = _value(cursor, tables.query("migrate/payload_type"))
    if wanted is not None and found is not None and found != wanted:
        fault = (
            f"--payload-type {wanted}: the payload of {tables.events} is {found}, and an existing outbox keeps its type"
        )
        raise ConfigError([f"{fault}; make another one with --table, and run a relay for it"])


def _value(cursor: psycopg.RawCursor[Any], query: bytes, params: tuple[object, ...] | None = None) -> Any:
    row = cursor.execute(query, params).fetchone()
    return row[0] if row else None


def schema_of(row: tuple[Any, ...] | None) -> Schema | None:
    """Read the answer of ``schema_version.sql``; None if no migration was applied."""
    return None if row is None or None in row else Schema._make(row)


def check_schema(found: Schema | None, table: str) -> None:
    """Refuse to work on a schema that this relay does not know.

    An older schema is always refused: migrations go before relays. A newer one is worked on where each migration
    that this relay does not know says that it can: then relays of two releases share one outbox while one replaces
    the other. `docs/operations/upgrade.md` has the rules.

    Args:
        found: What the database says, None if the outbox does not exist.
        table: The table of events, for the message.

    Raises:
        SchemaError: It is missing, older, or newer and not for this relay.
    """
    ours = newest_version()
    if found is None:
        raise SchemaError(
            f"table {table} does not exist here: run `relay migrate`, or set postgres.table (with its schema, if the"
            " search path of this role does not lead there)"
        )
    if found.version < ours:
        raise SchemaError(f"schema version {found.version} of {table} is older than {ours}: run `relay migrate`")
    if found.version > ours and found.oldest_relay > ours:
        raise SchemaError(
            f"schema version {found.version} of {table} is newer than {ours} and needs a relay that knows "
            f"{found.oldest_relay}: use a newer relay"
        )
