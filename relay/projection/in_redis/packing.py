"""A batch as the script takes it (batch.lua): a header, all payloads in one text, and columns.

An object for each event costs the runner and Redis more than to apply it. So a batch of the usual form is sent as the
texts that it was read as, and the script cuts only those at which a handler looks.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from relay.projection.ports import Alike
from relay.projection.rules.incoming import SEPARATOR, Incoming, joined
from relay.projection.rules.seq_bits import Chunk, ChunkId

# Of fewer events each bit is sent to the append-only file and to replicas alone: that is shorter than a chunk.
_FEW = 16


# The columns of a batch of the usual form, in the order of `Columns.texts`.
_TEXTS = ("seq", "stream_seq", "id", "key", "topic", "at", "version")


class Packed(NamedTuple):
    """Events for the script.

    Attributes:
        header: The columns that are lists, and what is the same of all events.
        payloads: Of all events, put together; the column ``length`` cuts them.
        texts: The columns that are texts, in the order that the header names them in.
    """

    header: dict[str, Any]
    payloads: bytes
    texts: Sequence[str | bytes] = ()


def of_columns(alike: Alike, handler: int) -> Packed:
    """Pack events that were read by columns.

    Args:
        handler: The number of the handler that applies them.
    """
    columns = alike.columns
    _, times, _, blocks, payloads = zip(*alike.messages, strict=True)
    separator = SEPARATOR.encode()
    texts: list[str | bytes] = [
        *columns.texts[: len(_TEXTS)],
        joined(map(str, times)),
        separator.join(blocks) + separator,
    ]
    header = {
        "handler": handler,
        "origin": columns.origin,
        "length": list(map(len, payloads)),
        "texts": [*_TEXTS, "time_ns", "block"],
    }
    return Packed(header, b"".join(payloads), texts)


def of_events(events: Sequence[Incoming], handlers: Sequence[int | None]) -> Packed:
    """Pack events that were read one by one, each with the number of its handler, None if it only waits.

    Their texts may hold any character, so they are lists.
    """
    header = {
        "handlers": handlers,
        "fault": [event.fault for event in events],
        "origins": [event.origin for event in events],
        "key": [event.key for event in events],
        "seq": [None if event.seq is None else str(event.seq) for event in events],
        "stream_seq": [str(event.stream_seq) for event in events],
        "time_ns": [str(event.time_ns) for event in events],
        "id": [event.id for event in events],
        "topic": [event.topic for event in events],
        "at": [event.at for event in events],
        "version": [event.version for event in events],
        "headers": [json.dumps(dict(event.headers)) for event in events],
        "length": [len(event.payload) for event in events],
        "texts": [],
    }
    return Packed(header, b"".join(event.payload for event in events))


def whole_chunks(bits: Mapping[ChunkId, Chunk], events: int) -> list[str | bytes]:
    """Return the chunks of a batch as arguments, the name of each before its bits; none if a bit for each is less."""
    if events < _FEW * len(bits):
        return []
    return [part for one, chunk in bits.items() for part in (chunk_name(one), chunk.bits)]


def chunk_name(chunk_id: ChunkId) -> str:
    """Return how a chunk is called in a key."""
    return f"{chunk_id.origin}:{chunk_id.number}"
