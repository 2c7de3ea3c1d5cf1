"""What an operator sees of projections, and asks of their owners. What changes something leaves a line in the audit."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from relay.errors import RelayError
from relay.projection.store import LAYOUT, query

Conn = psycopg.Connection[Any]


# Why an event is parked that was not refused itself.
BEHIND = "waits behind an earlier event of its key"


class NoProjection(RelayError):
    """There is no such projection in this database. Nothing was changed."""


class InItsPlace(RelayError):
    """An event cannot be tried again before an earlier one of its key. Nothing was changed."""


class StillOwned(RelayError):
    """A runner owns a partition of the projection. Nothing was changed."""


class PartitionStatus(NamedTuple):
    """What a partition says of itself; `updated_at` is in Unix seconds.

    Attributes:
        position: Every message of the stream up to this sequence is settled, other projections' events too.
        applied: How many events the model includes, with those that were parked and applied later.
        repeats: How many events came again and were passed over.
        complete_seq: Everything up to this seq of the outbox is settled; None if the watermark is not known.
        complete_up_to: Everything that was committed up to then is settled; Unix seconds.
        crashes: How many owners in a row have ended without giving the partition back.
    """

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
    complete_seq: int | None
    complete_up_to: float | None
    crashes: int


class ParkedEvent(NamedTuple):
    """A parked event, without its payload; times are in Unix seconds.

    Attributes:
        number: Unique in its partition.
        reason: Why it was refused the last time, or that it waits behind an earlier one of its key.
        wanted: ``retry`` or ``skip`` until its owner has done that.
        refusals: How often it was refused, by retries too; 0 if it only waits.
        refused_at: When it was refused the last time.
    """

    number: int
    partition: int
    key: str | None
    seq: int | None
    stream_seq: int
    subject: str
    reason: str
    wanted: str | None
    parked_at: float
    refusals: int = 0
    refused_at: float | None = None


class ParkedBy(NamedTuple):
    """A projection that has parked an event, and its number there.

    Attributes:
        refusals: How often it was refused; 0 if it only waits.
        refused_at: When it was refused the last time, in Unix seconds.
        behind: The number of the earlier event of its key that was refused and that it waits for; None: there is none.
    """

    projection: str
    number: int
    reason: str
    refusals: int
    refused_at: float | None
    behind: int | None


class RefreshStatus(NamedTuple):
    """How old a materialised view is.

    Attributes:
        every_s: How often it is refreshed at most, in seconds.
        refreshed_at: When its last refresh that succeeded began, in Unix seconds; None if none has.
        took_s: How long that one took.
        complete_up_to: Everything that was committed up to then is in it; Unix seconds, None if that is not known.
        failures: How many refreshes in a row have failed since.
        error: Why the last one has.
    """

    name: str
    generation: int
    view: str
    every_s: float
    refreshed_at: float | None
    took_s: float | None
    complete_up_to: float | None
    failures: int
    error: str | None


class AuditLine(NamedTuple):
    """What an operator has done; `at` is in Unix seconds, `what` is JSON."""

    number: int
    at: float
    who: str
    role: str
    name: str
    action: str
    what: str
    events: int


def statuses(conn: Conn, name: str | None = None) -> list[PartitionStatus]:
    """Return every partition of every projection, or of one.

    Raises:
        NoProjection: There is none.
    """
    check_tables(conn)
    found = [PartitionStatus(*row) for row in psycopg.RawCursor(conn).execute(query("status"), [name]).fetchall()]
    if not found and name is not None:
        raise NoProjection(f"there is no projection {name} in this database")
    return found


def refreshes(conn: Conn, name: str | None = None) -> list[RefreshStatus]:
    """Return the materialised views that projections refresh, or those of one.

    Raises:
        NoProjection: No projection of this version has run here.
    """
    check_tables(conn)
    return [RefreshStatus(*row) for row in psycopg.RawCursor(conn).execute(query("refreshes"), [name]).fetchall()]


def parked(conn: Conn, name: str, key: str | None = None) -> list[ParkedEvent]:
    """Return the parked events of a projection, at most 1,000, in their order.

    Raises:
        NoProjection: There is no such projection.
    """
    statuses(conn, name)
    found = psycopg.RawCursor(conn).execute(query("parked"), [name, key, BEHIND]).fetchall()
    return [ParkedEvent(*row) for row in found]


def check_order(chosen: Sequence[ParkedEvent], parked: Sequence[ParkedEvent]) -> None:
    """Check that events may be tried again: each key is applied in its order.

    Args:
        chosen: Those that shall be tried again.
        parked: All parked events of their keys.

    Raises:
        InItsPlace: An earlier event of a key was refused, and is not among them.
    """
    numbers = {(one.partition, one.number) for one in chosen}
    for event in chosen:
        for other in parked:
            is_before = event.key is not None and other.key == event.key and other.number < event.number
            is_same = is_before and other.partition == event.partition
            is_held = other.refusals > 0 and other.wanted is None and (other.partition, other.number) not in numbers
            if is_same and is_held:
                raise InItsPlace(
                    f"number {event.number} waits behind number {other.number} of its key, which was refused: retry or "
                    f"skip {other.number} first, or retry both"
                )


def following(chosen: Sequence[ParkedEvent], parked: Sequence[ParkedEvent]) -> int:
    """Count the parked events that are applied as well if some are applied or given up: those that only wait for them.

    Args:
        chosen: Those that are tried again, or given up.
        parked: All parked events of their keys.
    """
    numbers = {(one.partition, one.number) for one in chosen}
    first: dict[tuple[int, str | None], int] = {}
    held: dict[tuple[int, str | None], int] = {}
    for event in sorted(parked, key=lambda one: one.number):
        lane, is_chosen = (event.partition, event.key), (event.partition, event.number) in numbers
        if is_chosen or event.wanted is not None:
            first.setdefault(lane, event.number)
        elif event.refusals > 0:
            held.setdefault(lane, event.number)
    count = 0
    for event in parked:
        lane = (event.partition, event.key)
        waits = event.key is not None and event.refusals == 0 and event.wanted is None
        if waits and (event.partition, event.number) not in numbers and lane in first:
            count += first[lane] < event.number and held.get(lane, event.number) >= event.number
    return count


def check_retry(conn: Conn, name: str, numbers: Sequence[int]) -> None:
    """Check that the parked events of these numbers may be tried again.

    Raises:
        InItsPlace: An earlier event of a key was refused, and is not among them.
    """
    found = _parked_of_keys(conn, name, numbers)
    check_order([one for one in found if one.number in numbers], found)


def _parked_of_keys(conn: Conn, name: str, numbers: Sequence[int]) -> list[ParkedEvent]:
    """Return all parked events of the keys of some."""
    found = psycopg.RawCursor(conn).execute(query("parked_of"), [name, None, list(numbers), BEHIND]).fetchall()
    return [ParkedEvent(*row) for row in found]


def count_wanted(conn: Conn, name: str, key: str | None, numbers: Sequence[int] | None) -> tuple[int, int]:
    """Count the parked events that `want` would change, and those that only wait for them and follow.

    Args:
        key: Only those of this key.
        numbers: Only these; None: all that were refused, but for those that somebody has asked to skip.

    Raises:
        NoProjection: There is no such projection.
    """
    statuses(conn, name)
    return _wanted(conn, name, key, numbers)


def _wanted(conn: Conn, name: str, key: str | None, numbers: Sequence[int] | None) -> tuple[int, int]:
    cursor = psycopg.RawCursor(conn)
    found = [ParkedEvent(*row) for row in cursor.execute(query("parked_of"), [name, key, numbers, BEHIND]).fetchall()]
    chosen = [one for one in found if (_is_left(one) if numbers is None else one.number in numbers)]
    return len(chosen), following(chosen, found)


def _is_left(one: ParkedEvent) -> bool:
    """Return whether a request without numbers means an event: it was refused, and nobody has given it up."""
    return one.refusals > 0 and one.wanted != "skip"


def want(conn: Conn, name: str, key: str | None, numbers: Sequence[int] | None, what: str, who: str) -> int:
    """Ask the owner to ``retry`` or ``skip`` parked events; return how many, without those that follow them.

    The audit counts those of a retry as well: it says how many events are tried, or are given up.
    """
    with conn.transaction():
        _, behind = _wanted(conn, name, key, numbers)
        count = psycopg.RawCursor(conn).execute(query("ask_parked"), [name, key, numbers, what]).rowcount
        tried = count + behind if what == "retry" else count
        _audit(conn, who, name, what, {"key": key, "numbers": numbers, "behind": behind or None}, tried)
    return count


def audit_lines(conn: Conn, name: str | None, limit: int) -> list[AuditLine]:
    """Return what operators have done to projections, or to one, the newest first.

    Raises:
        NoProjection: No projection has run in this database.
    """
    check_tables(conn)
    return [AuditLine(*row) for row in psycopg.RawCursor(conn).execute(query("audit"), [name, limit]).fetchall()]


def _audit(conn: Conn, who: str, name: str, action: str, what: dict[str, object], events: int = 0) -> None:
    given = json.dumps({key: value for key, value in what.items() if value is not None})
    psycopg.RawCursor(conn).execute(query("audit_add"), [who, name, action, given, events])


def pause(conn: Conn, name: str, who: str) -> None:
    """Keep a projection from going on: its owner is fenced at once.

    Raises:
        NoProjection: There is no such projection.
    """
    statuses(conn, name)
    with conn.transaction():
        psycopg.RawCursor(conn).execute(query("pause"), [name])
        _audit(conn, who, name, "pause", {})


def resume(conn: Conn, name: str, who: str, *, accept_gap: bool = False) -> None:
    """Let a projection go on that was paused, or has stopped.

    Args:
        accept_gap: Pass over the gap that it has stopped at.

    Raises:
        NoProjection: There is no such projection.
    """
    statuses(conn, name)
    with conn.transaction():
        cursor = psycopg.RawCursor(conn)
        gaps = []
        if accept_gap:
            gaps = cursor.execute(query("accept_gap"), [name]).fetchall()
        cursor.execute(query("resume"), [name])
        _audit(conn, who, name, "resume", {"accept_gap": accept_gap or None, "gaps": gaps or None})


def forget(conn: Conn, name: str, who: str) -> None:
    """Delete everything that is written down of a projection; its own tables stay.

    Raises:
        NoProjection: There is no such projection.
        StillOwned: A runner owns a part of it.
    """
    check_tables(conn)
    with conn.transaction():
        cursor = psycopg.RawCursor(conn)
        # No runner makes the projection meanwhile, and none claims it.
        cursor.execute(query("lock"))
        cursor.execute(query("lock_states"), [name])
        owners = {one.owner for one in statuses(conn, name)} - {None}
        if owners:
            raise StillOwned(f"{', '.join(sorted(filter(None, owners)))} runs {name}: stop it first")
        cursor.execute(query("forget"), [name])
        _audit(conn, who, name, "forget", {})


def parked_by(cursor: psycopg.RawCursor[Any], origin: str, seq: int) -> list[ParkedBy]:
    """Return which projections of this database have parked an event; none if this login may not read that."""
    if not cursor.execute(query("may_read_parked")).fetchall()[0][0]:
        return []
    return [ParkedBy(*row) for row in cursor.execute(query("parked_by"), [seq, origin]).fetchall()]


def accepted_gaps(conn: Conn, name: str) -> list[range]:
    """Return the sequences of the stream that operators have passed over with ``resume --accept-gap``."""
    found = psycopg.RawCursor(conn).execute(query("accepted_gaps"), [name]).fetchall()
    return [range(first, last + 1) for first, last in found]


def check_tables(conn: Conn) -> None:
    """Find out whether projections have run in this database, and of what version.

    Raises:
        NoProjection: None has, or only those of an older relay.
    """
    layout = psycopg.RawCursor(conn).execute(query("layout")).fetchall()[0][0]
    if layout is None or layout < LAYOUT:
        raise NoProjection("no projection of this version has run in this database")
