"""What an operator sees of projections, and asks of their owners. Each function is one statement on one connection."""

from typing import Any, NamedTuple

import psycopg

from relay.errors import RelayError
from relay.projection.store import query

Conn = psycopg.Connection[Any]


class NoProjection(RelayError):
    """There is no such projection in this database. Nothing was changed."""


class PartitionStatus(NamedTuple):
    """What a partition says of itself; `updated_at` is in Unix seconds."""

    name: str
    generation: int
    partition: int
    stream: str
    position: int
    applied: int
    repeats: int
    parked: int
    status: str
    error: str | None
    gap_last: int | None
    owner: str | None
    updated_at: float


class ParkedEvent(NamedTuple):
    """A parked event, without its payload; `parked_at` is in Unix seconds."""

    number: int
    partition: int
    key: str | None
    seq: int | None
    stream_seq: int
    subject: str
    reason: str
    wanted: str | None
    parked_at: float


def statuses(conn: Conn, name: str | None = None) -> list[PartitionStatus]:
    """Return every partition of every projection, or of one.

    Raises:
        NoProjection: There is none.
    """
    _check_tables(conn)
    found = [PartitionStatus(*row) for row in psycopg.RawCursor(conn).execute(query("status"), [name]).fetchall()]
    if not found and name is not None:
        raise NoProjection(f"there is no projection {name} in this database")
    return found


def parked(conn: Conn, name: str, key: str | None = None) -> list[ParkedEvent]:
    """Return the parked events of a projection, at most 1,000, in their order.

    Raises:
        NoProjection: There is no such projection.
    """
    statuses(conn, name)
    return [ParkedEvent(*row) for row in psycopg.RawCursor(conn).execute(query("parked"), [name, key]).fetchall()]


def count_wanted(conn: Conn, name: str, key: str | None, number: int | None) -> int:
    """Count the parked events that `want` would speak of.

    Raises:
        NoProjection: There is no such projection.
    """
    statuses(conn, name)
    found = psycopg.RawCursor(conn).execute(query("count_wanted"), [name, key, number]).fetchone()
    return 0 if found is None else int(found[0])


def want(conn: Conn, name: str, key: str | None, number: int | None, what: str) -> int:
    """Ask the owner to ``retry`` or ``skip`` parked events; return how many."""
    return psycopg.RawCursor(conn).execute(query("want"), [name, key, number, what]).rowcount


def pause(conn: Conn, name: str) -> None:
    """Keep a projection from going on: its owner is fenced at once.

    Raises:
        NoProjection: There is no such projection.
    """
    statuses(conn, name)
    psycopg.RawCursor(conn).execute(query("pause"), [name])


def resume(conn: Conn, name: str, *, accept_gap: bool = False) -> None:
    """Let a projection go on that was paused, or has stopped.

    Args:
        accept_gap: Pass over the gap that it has stopped at.

    Raises:
        NoProjection: There is no such projection.
    """
    statuses(conn, name)
    with conn.transaction():
        cursor = psycopg.RawCursor(conn)
        if accept_gap:
            cursor.execute(query("accept_gap"), [name])
        cursor.execute(query("resume"), [name])


def _check_tables(conn: Conn) -> None:
    found = psycopg.RawCursor(conn).execute(query("exists")).fetchone()
    if found is None or not found[0]:
        raise NoProjection("no projection has run in this database")
