"""Compare a projection with the outbox: is each delivered event settled that its position has passed?

It finds what no reader of the stream can notice: a message that was deleted from the middle of the stream before it was
read. The rows are read first and the bits after them, so that an event that is applied meanwhile is not told.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import psycopg

from relay.config.derived_options import nats_options
from relay.config.settings import Settings
from relay.event import Event
from relay.jetstream.consumer import headers_of
from relay.jetstream.stream_look import headers_at
from relay.postgres.tables import Tables
from relay.projection.definition import Definition
from relay.projection.operator import accepted_gaps, statuses
from relay.projection.rules.seq_bits import CHUNK_SEQS
from relay.projection.runner import Way
from relay.projection.store import query
from relay.rules.database.origins import Origins
from relay.rules.sending.envelopes import Envelopes, Poison
from relay.rules.stream.streams import split
from relay.rules.stream.subjects import matches

Conn = psycopg.Connection[Any]

# How many messages of the stream are asked for before the answers are awaited.
_AT_ONCE = 100
_MAX_SEQ = 2**63 - 1


class Unsettled(NamedTuple):
    """An event whose bit is not set, and where it was stored in the stream."""

    seq: int
    stream_seq: int


class Verdict(NamedTuple):
    """What was compared.

    Attributes:
        compared: How many delivered events the projection must have settled.
        in_gaps: How many of those lie in a gap that was accepted.
        unsettled: The others that have left no mark.
        elsewhere: Those that have left none and are in another stream, by its name.
    """

    compared: int
    in_gaps: int
    unsettled: tuple[Unsettled, ...]
    elsewhere: Mapping[str, Sequence[int]] = {}


class Settled(Protocol):
    """What a projection has written down of what it has settled.

    Attributes:
        position: Up to which sequence of the stream each partition has read.
        gaps: The sequences that operators have passed over.
    """

    position: int
    gaps: Sequence[range]

    def bits(self, chunk: int, origins: Sequence[str]) -> Iterable[bytes]:
        """Return the bits of a chunk of seqs, of each partition and each of some origins."""


class SettledInPostgres:
    """The same of a projection in PostgreSQL.

    Args:
        models: The database of the read models, in autocommit.
        name: The projection.

    Raises:
        NoProjection: There is no such projection.
    """

    def __init__(self, models: Conn, name: str) -> None:
        self._models = models
        self._name = name
        self.position = min(one.position for one in statuses(models, name))
        self.gaps: Sequence[range] = accepted_gaps(models, name)

    def bits(self, chunk: int, origins: Sequence[str]) -> Iterator[bytes]:
        """Return the bits of a chunk of seqs, of each partition and each of some origins."""
        found = psycopg.RawCursor(self._models).execute(query("settled"), [self._name, chunk, list(origins)])
        return (bits for (bits,) in found)


def verify(definition: Definition, settled: Settled, outbox: Conn, tables: Tables, envelopes: Envelopes) -> Verdict:
    """Compare every delivered event that is still in the outbox.

    Args:
        settled: What the projection has settled.
        outbox: The database of the outbox, in autocommit.
        envelopes: Makes the subject of a topic, as the relay does.
    """
    position, gaps = settled.position, settled.gaps
    cursor = psycopg.RawCursor(outbox)
    origins = Origins(cursor.execute(tables.query("operate/origin")).fetchall()[0][0])
    newest = cursor.execute(tables.query("delivery/newest")).fetchall()[0][0] or 0
    compared, in_gaps, unsettled = 0, 0, list[Unsettled]()
    elsewhere: dict[str, list[int]] = {}
    for chunk in _chunks_with_rows(cursor, tables, newest):
        rows = cursor.execute(
            tables.query("operate/projected"),
            [chunk * CHUNK_SEQS - 1, min((chunk + 1) * CHUNK_SEQS - 1, _MAX_SEQ), definition.stream, position],
        ).fetchall()
        ours = {
            seq: (stream_seq, stream)
            for seq, topic, key, stream_seq, stream in rows
            # A stream of another domain has its name with that domain.
            if (split(stream)[1] != definition.stream or stream_seq <= position)
            and _is_ours(definition, envelopes, topic, key)
        }
        if not ours:
            continue
        compared += len(ours)
        wanted = sorted({"", *(origins.of(seq) for seq in ours)})
        bits = _together(settled.bits(chunk, wanted))
        for seq, (stream_seq, stream) in ours.items():
            byte, bit = divmod(seq % CHUNK_SEQS, 8)
            if bits[byte] >> bit & 1:
                continue
            if split(stream)[1] != definition.stream:
                elsewhere.setdefault(stream, []).append(seq)
            elif any(stream_seq in gap for gap in gaps):
                in_gaps += 1
            else:
                unsettled.append(Unsettled(seq, stream_seq))
    return Verdict(compared, in_gaps, tuple(unsettled), elsewhere)


def _chunks_with_rows(cursor: psycopg.RawCursor[Any], tables: Tables, newest: int) -> Iterator[int]:
    """Find the chunks that hold rows, up to a seq: seqs may lie far apart, and the cost follows the rows."""
    above = -1
    while above < newest:
        found = cursor.execute(tables.query("delivery/next_seq"), [above]).fetchall()
        if not found or found[0][0] > newest:
            return
        chunk = found[0][0] // CHUNK_SEQS
        yield chunk
        above = (chunk + 1) * CHUNK_SEQS - 1


async def find_unnumbered(settings: Settings, stream: str, unsettled: Sequence[Unsettled]) -> set[int]:
    """Return the seqs whose messages are in the stream without ``Outbox-Seq``: no projection can mark them as settled.

    Raises:
        BrokerError: NATS could not be asked.
    """
    connection = await Way(nats_options(settings)).connect()
    found: set[int] = set()
    try:
        for first in range(0, len(unsettled), _AT_ONCE):
            some = unsettled[first : first + _AT_ONCE]
            blocks = await asyncio.gather(*(headers_at(connection, stream, one.stream_seq) for one in some))
            for one, block in zip(some, blocks, strict=True):
                if block is not None and "Outbox-Seq" not in headers_of(block):
                    found.add(one.seq)
    finally:
        await connection.close()
    return found


def _together(parts: Iterable[bytes]) -> bytes:
    """Return what is set in any of some bits."""
    settled = 0
    for bits in parts:
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
