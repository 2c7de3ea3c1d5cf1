"""Ask PostgreSQL what the doctor wants to know, with the rights of the relay. Everything is rolled back."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import starmap
from typing import Any

import psycopg
from psycopg import sql

from relay.operate.doctor.facts import (
    Changer,
    Holders,
    Leases,
    PartitionFacts,
    PostgresFacts,
    ProjectionFacts,
    Right,
    Role,
    Server,
    Session,
    Table,
    Topic,
)
from relay.operate.doctor.rights import Wanted, wanted
from relay.operate.hindrances import Hindrance, OwnHindrance
from relay.operate.inserted import InsertedTopic, asked, from_rows
from relay.postgres.migrate import newest_version, schema_of
from relay.postgres.server_error import is_of_schema, is_of_value, words
from relay.postgres.session import conninfo, pin_now
from relay.postgres.single_value import value_or_none
from relay.postgres.tables import Tables
from relay.rules.database.adoption import Adoption, Installed, adoption_of
from relay.rules.database.database_state import DatabaseState
from relay.rules.database.table_shape import TableShape

_SAMPLE_ROWS = 10_000
_MOST_TOPICS = 100
# A ring takes 1 ms; a pooler that swallows it does so for ever.
_RING_S = 2.0

Conn = psycopg.Connection[tuple[Any, ...]]


def gather_postgres(
    dsn: str, bell_dsn: str | None, table: str, connect_timeout_s: float, timeout_s: float, role: Role = "relay"
) -> PostgresFacts:
    """Ask over `dsn`. Ask over the bell's address, `bell_dsn` if it is set, whether its sessions hold.

    Args:
        timeout_s: Seconds for one question.
        role: Whose rights are tried.
    """
    try:
        with _connect(dsn, connect_timeout_s) as conn:
            pin_now(conn)
            return _asked(conn, dsn, bell_dsn, Tables(table), connect_timeout_s, timeout_s, role)
    except psycopg.Error as error:
        return PostgresFacts(error=_line(error))


def _connect(dsn: str, timeout_s: float) -> Conn:
    return psycopg.connect(conninfo(dsn, "outbox-relay doctor", timeout_s), autocommit=True, prepare_threshold=None)


def _line(error: psycopg.Error) -> str:
    return words(error)


def _asked(
    conn: Conn, dsn: str, bell_dsn: str | None, tables: Tables, connect_timeout_s: float, timeout_s: float, role: Role
) -> PostgresFacts:
    with conn.transaction(force_rollback=True):
        # Settings of the transaction, so that nothing of them stays in a pooler's connection.
        conn.execute("SELECT set_config('statement_timeout', %s, true)", (f"{timeout_s * 1000:.0f}",))
        conn.execute("SELECT set_config('lock_timeout', '2s', true)")
        before = time.time()
        (row,) = _rows(conn, tables.query("doctor/server"))
        skew_s = row[-1] - (before + time.time()) / 2
        server = Server(*row[:-1])
        shape = TableShape.read(_rows(conn, tables.query("ownership/columns")))
        if shape is None:
            return PostgresFacts(server=server, skew_s=skew_s, wanted_version=newest_version())
        payload_type = shape.payload_type
        tables = Tables(tables.events, payload_type or "jsonb")
        takes_none = role == "relay" and (server.in_recovery or server.read_only)
        rights = () if takes_none else _tried(conn, tables, role)
        changers = _rows(conn, tables.query("doctor/changers"))
        versions = _rows(conn, tables.query("migrate/schema_version"))
        schema = schema_of(versions[0] if versions else None)
        watermark = _value(conn, tables.query("doctor/watermark")) or 0
        of_table = _rows(conn, tables.query("doctor/table"))
        identity = _value(conn, tables.query("doctor/identity")) or ""
        hindrances = _rows(conn, tables.query("doctor/hindrances"))
        own_hindrances = _rows(conn, tables.query("doctor/own_hindrances"))
        members = _rows(conn, tables.query("migrate/beats"))
        notes = _rows(conn, tables.query("operate/notes"))
        unreachable = bool(_value(conn, tables.query("doctor/unreachable")))
        holders = _rows(conn, tables.query("doctor/holders"))
        leases = _rows(conn, tables.query("doctor/leases"))
        adoptions = _adoptions(conn, tables)
        streams = _rows(conn, tables.query("operate/streams"))
        origin = _value(conn, tables.query("operate/origin"))
        projections = _projections(conn, tables)
        sample = _sample(conn, tables, watermark)
        newest = int(_value(conn, tables.query("delivery/newest")) or 0)
        inserted = from_rows(_rows(conn, tables.query("operate/inserted"), asked(newest)), time.time())
    session, bell_error = None, None
    try:
        with _connect(bell_dsn or dsn, connect_timeout_s) as listener:
            session = _sessions(listener, conn, tables)
    except psycopg.Error as error:
        bell_error = _line(error)
    return PostgresFacts(
        schema_version=schema.version if schema else None,
        oldest_relay=schema.oldest_relay if schema else None,
        wanted_version=newest_version(),
        payload_type=payload_type,
        server=server,
        rights=rights,
        changers=tuple(Changer(*row) for row in changers),
        table=_table(of_table[0]) if of_table else None,
        unfit=tuple(shape.faults(tables.events)),
        hidden=DatabaseState(identity, 0, None).hidden(),
        hindrances=tuple(Hindrance(*row) for row in hindrances),
        own_hindrances=tuple(OwnHindrance(*row) for row in own_hindrances),
        members=tuple(member for member, _ in members),
        notes=tuple((member, note) for member, text in notes for note in text.splitlines()),
        unreachable=unreachable,
        holders=_holders(holders[0]) if holders else None,
        leases=Leases(*leases[0]) if leases else None,
        session=session,
        bell_error=bell_error,
        topics=tuple(replace(one, rate=_rate(one.topic, inserted)) for one in starmap(Topic, sample)),
        adoptions=adoptions,
        streams=tuple(str(stream) for stream, *_ in streams),
        has_origin=bool(origin),
        projections=projections,
        skew_s=skew_s,
    )


def _sample(conn: Conn, tables: Tables, watermark: int) -> list[tuple[Any, ...]]:
    """Return what is in the table, by topic; with sizes on the disk if PostgreSQL fails to read a row of the sample."""
    query, values = tables.query("doctor/sample"), (watermark, _SAMPLE_ROWS, _MOST_TOPICS)
    try:
        return _rows(conn, query, (*values, True))
    except psycopg.Error as error:
        if not is_of_value(error):
            raise
        return _rows(conn, query, (*values, False))


def _rate(topic: str, inserted: Sequence[InsertedTopic] | None) -> float | None:
    """Return how many events of a topic are inserted a second; None if that is not known."""
    return None if inserted is None else sum(one.rate for one in inserted if one.topic == topic)


def _projections(conn: Conn, tables: Tables) -> ProjectionFacts:
    """Return how the projections of this database are; nothing if none has run, or only one of an older relay."""
    if _value(conn, tables.query("projection/layout")) is None:
        return ProjectionFacts()
    if not _value(conn, tables.query("projection/may_read_parked")):
        return ProjectionFacts(refused="this role may not read the schema projection")
    now = time.time()
    return ProjectionFacts(
        tuple(
            PartitionFacts(
                name, partition, status, error, owner is not None, position, parked,
                None if complete_up_to is None else max(0.0, now - complete_up_to), crashes,
            )
            for name, _, partition, _, position, _, _, parked, status, error, _, owner, _, _, complete_up_to, crashes
            in _rows(conn, tables.query("projection/status"), (None,))
        )
    )  # fmt: skip


def _rows(conn: Conn, query: bytes, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Ask in a savepoint; nothing if this role may not, or the schema is another one: other findings say so."""
    try:
        with conn.transaction():
            return psycopg.RawCursor(conn).execute(query, params or None).fetchall()
    except psycopg.Error as error:
        if not is_of_schema(error):
            raise
        return []


def _adoptions(conn: Conn, tables: Tables) -> tuple[Adoption, ...]:
    """Return the adoptions, with what the publications of their old readers send again."""
    found = []
    for one in (adoption_of(Installed._make(row)) for row in _rows(conn, tables.query("adopt/installed"))):
        asked = None if one.carried is None else (one.carried.publication, one.source)
        rows = [] if asked is None else _rows(conn, tables.query("adopt/still_carried"), asked)
        found.append(one._replace(shared=tuple(name for (name,) in rows)))
    return tuple(found)


def _value(conn: Conn, query: bytes) -> Any:
    rows = _rows(conn, query)
    return value_or_none(rows)


def _table(row: tuple[Any, ...]) -> Table:
    table = Table(*row)
    return replace(table, marked_indexes=tuple(table.marked_indexes))


def _holders(row: tuple[Any, ...]) -> Holders:
    holders = Holders(*row)
    return replace(holders, idle_slots=tuple(holders.idle_slots))


def _tried(conn: Conn, tables: Tables, role: Role) -> tuple[Right, ...]:
    """Try each right on no row: the server checks it before it looks for one."""
    rights = []
    for want in wanted(tables.file("roles"), tables.name(role)):
        refusal = None
        try:
            with conn.transaction(force_rollback=True):
                conn.execute(_attempt(want))
        except psycopg.Error as error:
            refusal = _line(error).partition(" LINE ")[0]
        rights.append(Right(want.verb, want.table, refusal))
    return tuple(rights)


def _attempt(want: Wanted) -> sql.Composed:
    """Compose a statement that needs a right and touches nothing; the names come from ``sql/roles.sql``."""
    table = sql.Identifier(*want.table.split("."))
    names = [sql.Identifier(name) for name in want.columns]
    match want.verb:
        case "SELECT":
            what = sql.SQL(", ").join(names) if names else sql.SQL("*")
            return sql.SQL("SELECT {} FROM {} WHERE false").format(what, table)
        case "DELETE":
            return sql.SQL("DELETE FROM {} WHERE false").format(table)
        case "UPDATE" if not names:
            return sql.SQL("SELECT FROM {} WHERE false FOR UPDATE").format(table)
        case "UPDATE":
            sets = sql.SQL(", ").join(sql.SQL("{} = DEFAULT").format(name) for name in names)
            return sql.SQL("UPDATE {} SET {} WHERE false").format(table, sets)
        case "INSERT":
            columns = sql.SQL("({})").format(sql.SQL(", ").join(names)) if names else sql.SQL("")
            nothing = sql.SQL(", ").join([sql.SQL("NULL")] * len(names))
            return sql.SQL("INSERT INTO {} {} SELECT {} WHERE false").format(table, columns, nothing)


def _sessions(listener: Conn, other: Conn, tables: Tables) -> Session:
    """Find out whether a session of the bell holds: LISTEN and the bell's lock belong to one server process."""
    ask = tables.query("doctor/session")
    first = _pid(listener, ask)
    with other.transaction(force_rollback=True):
        # A pooler gives the process that was free last; then ours is taken, and asking again could wait for ever.
        shared = _pid(other, ask) == first or _pid(listener, ask) != first
    pooler = first != listener.info.backend_pid
    ring_s = None
    if not shared:
        channel = f"outbox_doctor_{secrets.token_hex(4)}"
        listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        rung = time.monotonic()
        psycopg.RawCursor(other).execute(tables.query("doctor/ring"), (channel,))
        for _ in listener.notifies(timeout=_RING_S, stop_after=1):
            ring_s = time.monotonic() - rung
        listener.execute(sql.SQL("UNLISTEN {}").format(sql.Identifier(channel)))
    return Session(pooler, shared, ring_s)


def _pid(conn: Conn, query: bytes) -> int:
    row = conn.execute(query).fetchone()
    return 0 if row is None else int(row[0])
