"""Bring the outbox in a database to the version of this relay."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg

from relay.errors import ConfigError, SchemaError
from relay.sql import Tables, sql_directory

PAYLOAD_TYPES = ("jsonb", "json", "text", "bytea")

_NUMBERED = re.compile(r"(\d{4})_(\w+)\.sql")
_PAYLOAD_COLUMN = "payload      jsonb       NOT NULL"


def _numbered() -> Iterator[tuple[int, Path]]:
    for path in sorted((sql_directory() / "migrations").iterdir()):
        found = _NUMBERED.fullmatch(path.name)
        if found:
            yield int(found[1]), path


def newest_version() -> int:
    """Give the version of the schema that this relay needs."""
    return max(version for version, _ in _numbered())


def _migration(path: Path, tables: Tables) -> str:
    text = path.read_text("utf-8")
    return tables.put_in(text.replace(_PAYLOAD_COLUMN, f"payload      {tables.payload_type:<11} NOT NULL"))


def _tables(table: str, payload_type: str) -> Tables:
    if payload_type not in PAYLOAD_TYPES:
        raise ConfigError([f"payload type {payload_type!r}: must be one of {', '.join(PAYLOAD_TYPES)}"])
    return Tables(table, payload_type)


def script(table: str, payload_type: str, bell: bool) -> str:
    """Give everything that `migrate` would run in an empty database, for teams that run their own tool."""
    tables = _tables(table, payload_type)
    parts = ["BEGIN;", tables.file("migrations")]
    for version, path in _numbered():
        parts += [
            f"-- {path.name}",
            _migration(path, tables),
            f"INSERT INTO {tables.name('migrations')} (version, name) VALUES ({version}, '{path.stem}');",
        ]
    parts += [tables.file("bell_on" if bell else "bell_off"), tables.file("roles"), "COMMIT;"]
    return "\n".join(parts) + "\n"


def migrate(conn: psycopg.Connection[object], table: str, payload_type: str, bell: bool) -> list[str]:
    """Apply what is missing, in one transaction, one migrator at a time; doing it again changes nothing.

    Safe while producers and relays work: it waits at most 5 s for a lock on the table, so that nobody queues
    behind it for longer. `payload_type` counts only where the table is made.

    Returns:
        The names of the migrations applied, oldest first; empty where the schema was current.

    Raises:
        SchemaError: The database holds a newer version. Nothing was changed.
        psycopg.errors.LockNotAvailable: The table was busy for 5 s. Nothing was changed; try again.
    """
    tables = _tables(table, payload_type)
    applied: list[str] = []
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        # One migrator at a time, on a lock that no relay and no producer takes.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (f"migrate {table}",))
        if tables.schema is not None:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {tables.schema}".encode())
        migrations = tables.name("migrations")
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (migrations,))
        if cursor.fetchone() == (False,):
            cursor.execute(tables.file("migrations").encode())
        cursor.execute(f"SELECT coalesce(max(version), 0) FROM {migrations}".encode())
        row = cursor.fetchone()
        current = row[0] if isinstance(row, tuple) else 0
        if current > newest_version():
            raise SchemaError(
                f"schema version {current} of {table} is newer than this relay ({newest_version()}): use a newer relay"
            )
        for version, path in _numbered():
            if version > current:
                cursor.execute(_migration(path, tables).encode())
                cursor.execute(
                    f"INSERT INTO {migrations} (version, name) VALUES (%s, %s)".encode(), (version, path.stem)
                )
                applied.append(path.stem)
        _set_bell(cursor, tables, bell)
        cursor.execute(tables.file("roles").encode())
    return applied


def _set_bell(cursor: psycopg.Cursor[object], tables: Tables, bell: bool) -> None:
    """Put the bell up or take it down; where it already is as wanted, no lock on the table is asked for."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = 'outbox_bell')",
        (tables.events,),
    )
    if cursor.fetchone() != (bell,):
        cursor.execute(tables.file("bell_on" if bell else "bell_off").encode())


def check_schema(version: int | None, table: str) -> None:
    """Refuse to work on a schema that this relay does not know.

    Args:
        version: The newest applied migration, None where the outbox does not exist.
        table: The table of events, for the message.

    Raises:
        SchemaError: It is missing, older or newer.
    """
    if version is None:
        raise SchemaError(f"table {table} does not exist here: run `relay migrate`, or set postgres.table")
    if version < newest_version():
        raise SchemaError(
            f"schema version {version} of {table} is older than {newest_version()}: run `relay migrate`"
        )
    if version > newest_version():
        raise SchemaError(
            f"schema version {version} of {table} is newer than {newest_version()}: use a newer relay"
        )
