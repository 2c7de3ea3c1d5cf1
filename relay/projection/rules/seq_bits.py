"""One bit for each seq of the outbox: whether this projection has settled it. Pure: no I/O.

The position in the stream says how far the stream was read. It says nothing once the stream has lost its tail and the
relay has sent events again, once an event is replayed, or once a dead letter is retried: then only the seq tells a
repeat from an event that is due. A bit is kept for ever, 125 MB for a billion events.

A bit is of one projection, generation and partition, and of one origin: a table that was restored to an earlier time
uses its seqs again. Without the header ``Outbox-Origin`` such a seq is noticed by its time of creation alone: it is
younger than everything that this projection had settled nearby.

An event may have come without an origin first, and come again with one, after the relay was upgraded. So what was
settled without an origin counts for every origin.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from relay.projection.rules.incoming import Incoming

CHUNK_BYTES = 1024
CHUNK_SEQS = CHUNK_BYTES * 8
_MAX_CHUNKS = 512
# Below this, a number of 1 KiB for each costs less than the digits of all.
_FEW = 64


class ChunkId(NamedTuple):
    """Which seqs a chunk speaks of: those of an origin from ``number * CHUNK_SEQS`` on."""

    origin: str
    number: int


class Chunk(NamedTuple):
    """The bits of 8,192 seqs.

    Attributes:
        bits: 1,024 bytes; the lowest bit of the first byte is the lowest seq.
        newest: The greatest time of creation among them, Unix seconds; None if no event said one.
    """

    bits: bytes = bytes(CHUNK_BYTES)
    newest: float | None = None


def chunk_of(event: Incoming) -> ChunkId | None:
    """Return the chunk that an event belongs to, None if it has no seq."""
    return None if event.seq is None else ChunkId(event.origin, event.seq // CHUNK_SEQS)


class SeqBits:
    """The chunks of one owner, as far as they were read from the store.

    The owner is the only writer of its chunks, so what is in memory is what is stored, until a write fails: then make
    a new one.
    """

    def __init__(self) -> None:
        # By `ChunkId`; looked up by plain tuples, which are equal to it and quicker to make for each event.
        self._chunks: dict[tuple[str, int], Chunk] = {}

    def missing(self, events: Iterable[Incoming]) -> set[ChunkId]:
        """Return the chunks that must be read before these events can be judged."""
        return self._missing({(event.origin, event.seq // CHUNK_SEQS) for event in events if event.seq is not None})

    def missing_of(self, origin: str, seqs: Sequence[int]) -> set[ChunkId]:
        """Return the chunks that must be read before these seqs of an origin can be judged."""
        return self._missing({(origin, number) for number in _by_chunk(seqs)})

    def _missing(self, wanted: set[tuple[str, int]]) -> set[ChunkId]:
        wanted |= {("", number) for _, number in wanted}
        return {ChunkId(*one) for one in wanted - self._chunks.keys()}

    def take(self, chunk_id: ChunkId, chunk: Chunk) -> None:
        """Take a chunk as it is stored; an empty one if nothing is."""
        self._chunks[chunk_id] = chunk

    def shrink(self) -> None:
        """Forget all chunks if there are too many; call it between two batches."""
        if len(self._chunks) > _MAX_CHUNKS:
            self._chunks.clear()

    def all_new(self, events: Sequence[Incoming]) -> bool:
        """Report whether each event has a seq, no seq comes twice, and none is settled in an origin of the batch.

        That is so for most batches, and told at once; False says nothing of any event. The chunks of all must have been
        read.
        """
        seqs = [event.seq for event in events if event.seq is not None]
        return len(seqs) == len(events) and self._all_new({event.origin for event in events}, seqs)

    def all_new_of(self, origin: str, seqs: Sequence[int]) -> bool:
        """Do as `all_new`, for the seqs of events of one origin."""
        return self._all_new({origin}, seqs)

    def _all_new(self, origins: set[str], seqs: Sequence[int]) -> bool:
        if not seqs or len(set(seqs)) != len(seqs):
            return False
        for number, own in _by_chunk(seqs).items():
            mask = _mask(own)
            for origin in {"", *origins}:
                # An origin that has no event in the chunk has no chunk to read either.
                chunk = self._chunks.get((origin, number))
                if chunk is not None and int.from_bytes(chunk.bits, "little") & mask:
                    return False
        return True

    def settled(self, event: Incoming) -> bool:
        """Return whether the event's bit is set; False without a seq.

        Raises:
            KeyError: Its chunk was not read.
        """
        return self._settling(event) is not None

    def looks_reused(self, event: Incoming) -> bool:
        """Return whether an event whose bit is set is younger than all that was settled nearby: another event."""
        chunk = self._settling(event)
        if chunk is None or event.created is None:
            return False
        return chunk.newest is not None and event.created > chunk.newest

    def _settling(self, event: Incoming) -> Chunk | None:
        """Return the chunk in which the event's bit is set, None if there is none."""
        if event.seq is None:
            return None
        number, place = divmod(event.seq, CHUNK_SEQS)
        byte, bit = place >> 3, 1 << (place & 7)
        chunk = self._chunks[event.origin, number]
        if chunk.bits[byte] & bit:
            return chunk
        chunk = self._chunks["", number]
        return chunk if chunk.bits[byte] & bit else None

    def with_settled(self, events: Iterable[Incoming]) -> dict[ChunkId, Chunk]:
        """Return the chunks as they are once these events are settled; memory does not change yet.

        Raises:
            KeyError: A chunk was not read.
        """
        seqs: dict[tuple[str, int], list[int]] = {}
        times: dict[tuple[str, int], list[float]] = {}
        for event in events:
            if event.seq is not None:
                at = (event.origin, event.seq // CHUNK_SEQS)
                seqs.setdefault(at, []).append(event.seq)
                if event.created is not None:
                    times.setdefault(at, []).append(event.created)
        return {ChunkId(*at): _with(self._chunks[at], own, times.get(at, ())) for at, own in seqs.items()}

    def with_settled_of(self, origin: str, seqs: Sequence[int], created: Sequence[float]) -> dict[ChunkId, Chunk]:
        """Do as `with_settled`, for the seqs of events of one origin, and when each was created.

        Raises:
            KeyError: A chunk was not read.
        """
        own = _by_chunk(seqs)
        if len(own) == 1:
            times: Mapping[int, Sequence[float]] = dict.fromkeys(own, created)
        else:
            apart: dict[int, list[float]] = {number: [] for number in own}
            for seq, at in zip(seqs, created, strict=True):
                apart[seq // CHUNK_SEQS].append(at)
            times = apart
        return {ChunkId(origin, one): _with(self._chunks[origin, one], own[one], times[one]) for one in own}

    def accept(self, changed: Mapping[ChunkId, Chunk]) -> None:
        """Remember chunks that were committed."""
        self._chunks.update(changed.items())


def _by_chunk(seqs: Sequence[int]) -> dict[int, Sequence[int]]:
    """Return seqs by the number of their chunk: nearly always all of one."""
    lowest, highest = min(seqs) // CHUNK_SEQS, max(seqs) // CHUNK_SEQS
    if lowest == highest:
        return {lowest: seqs}
    found: dict[int, list[int]] = {}
    for seq in seqs:
        found.setdefault(seq // CHUNK_SEQS, []).append(seq)
    return dict(found)


def _mask(seqs: Sequence[int]) -> int:
    """Return the bits of seqs of one chunk, as one number."""
    first, last = min(seqs), max(seqs)
    if last - first + 1 == len(set(seqs)):
        return ((1 << (last - first + 1)) - 1) << first % CHUNK_SEQS
    if len(seqs) < _FEW:
        mask = 0
        for seq in seqs:
            mask |= 1 << seq % CHUNK_SEQS
        return mask
    digits = bytearray(b"0" * CHUNK_SEQS)
    for seq in seqs:
        digits[-1 - seq % CHUNK_SEQS] = 49  # "1"
    return int(digits, 2)


def _with(chunk: Chunk, seqs: Sequence[int], times: Sequence[float]) -> Chunk:
    """Return a chunk with the bits of some of its own seqs, and the times of their events as far as they are known."""
    bits = int.from_bytes(chunk.bits, "little") | _mask(seqs)
    newest = max(times, default=chunk.newest)
    if newest is not None and chunk.newest is not None:
        newest = max(newest, chunk.newest)
    return Chunk(bits.to_bytes(CHUNK_BYTES, "little"), newest)
