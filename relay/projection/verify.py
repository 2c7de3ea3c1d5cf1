"""Compare a projection with the outbox: is each delivered event settled that its position has passed?

It finds what no reader of the stream can notice: a message that was deleted from the middle of the stream before it was
read. The rows are read first and the bits after them, so that an event that is applied meanwhile is not told.
"""

from typing import Any, NamedTuple

import psycopg

from relay.event import Event
from relay.postgres.tables import Tables
from relay.projection.definition import Definition
from relay.projection.operator import statuses
from relay.projection.rules.seq_bits import CHUNK_SEQS
from relay.projection.store import query
from relay.rules.envelopes import Envelopes, Poison
from relay.rules.origins import Origins
from relay.rules.subjects import matches

Conn = psycopg.Connection[Any]

_SHOWN = 100


class Verdict(NamedTuple):
    """What was compared.

    Attributes:
        compared: How many delivered events the projection must have settled.
        missing: How many it has not.
        seqs: The first of those, at most 100.
    """

    compared: int
    missing: int
    seqs: tuple[int, ...]


def verify(definition: Definition, models: Conn, outbox: Conn, tables: Tables, envelopes: Envelopes) -> Verdict:
    """Compare every delivered event that is still in the outbox.

    Args:
        models: The database of the read models, in autocommit.
        outbox: That of the outbox, in autocommit.
        envelopes: Makes the subject of a topic, as the relay does.

    Raises:
        NoProjection: There is no such projection.
    """
    position = min(one.position for one in statuses(models, definition.name))
    cursor = psycopg.RawCursor(outbox)
    origins = Origins(cursor.execute(tables.query("operate/origin")).fetchall()[0][0])
    newest = cursor.execute(tables.query("delivery/newest")).fetchall()[0][0] or 0
    compared, missing, seqs = 0, 0, list[int]()
    for chunk in range(newest // CHUNK_SEQS + 1):
        rows = cursor.execute(
            tables.query("operate/projected"),
            [chunk * CHUNK_SEQS - 1, (chunk + 1) * CHUNK_SEQS - 1, definition.stream, position],
        ).fetchall()
        ours = [seq for seq, topic, key in rows if _is_ours(definition, envelopes, topic, key)]
        if not ours:
            continue
        compared += len(ours)
        wanted = sorted({"", *(origins.of(seq) for seq in ours)})
        settled = _bits(models, definition.name, chunk, wanted)
        for seq in ours:
            byte, bit = divmod(seq % CHUNK_SEQS, 8)
            if not settled[byte] >> bit & 1:
                missing += 1
                seqs += [seq] if len(seqs) < _SHOWN else []
    return Verdict(compared, missing, tuple(seqs))


def _bits(models: Conn, name: str, chunk: int, origins: list[str]) -> bytes:
    settled = 0
    for (bits,) in psycopg.RawCursor(models).execute(query("settled"), [name, chunk, origins]):
        settled |= int.from_bytes(bits, "little")
    return settled.to_bytes(CHUNK_SEQS // 8, "little")


def _is_ours(definition: Definition, envelopes: Envelopes, topic: str, key: str | None) -> bool:
    try:
        subject = envelopes.subject(Event(0, "", topic, key, b"", None, 0.0, 0, None))
    except Poison:
        return False
    return any(matches(pattern, subject) for pattern in definition.subjects) and any(
        matches(handler.topic, subject) for handler in definition.handlers
    )
