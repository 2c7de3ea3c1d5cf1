"""How much one kind of read asks for: more while there is more, less if it was too large or too slow. Pure.

Each reader of rows has a `ReadSize` of its own: what is large or slow where one of them reads says nothing of another.
"""

from typing import NamedTuple

from relay.event import Event

# A row takes no part in a careful read unless it is larger than this, bytes: then there is nothing to be careful of.
SMALL_BYTES = 2_000
_FIRST_ROWS = 100
# So many rows are read at first by a statement that makes texts of unknown size.
_CAREFUL_ROWS = 32
# After this many reads of nothing but small rows in a row the quick statement is used again.
_SMALL_READS = 16
# After a read that was too slow this many have to be done in time before one asks for more than half of it.
_FULL_READS = 16
_MOST_SEQS = 100_000


class Room(NamedTuple):
    """How much one read may bring.

    Attributes:
        rows: At most this many rows.
        payload_bytes: Bytes that they share: payload, headers, topic and key.
        row_bytes: Bytes of one row; a larger one comes without its payload, as does one of more than 1 MiB beside it.
        careful: Whether rows may be large: then each is measured before it is sent.
    """

    rows: int
    payload_bytes: int
    row_bytes: int
    careful: bool


class Read(NamedTuple):
    """What a read brought.

    Attributes:
        events: Our events, up to the first row that found no room.
        seqs: The seqs of all rows that were read, whosever they are, ascending; for `due` in its order.
        is_cut: Whether the read ended at its limit, of rows or of bytes: more may follow at once.
        is_crowded: Whether it ended because a row found no room.
    """

    events: list[Event]
    seqs: list[int]
    is_cut: bool
    is_crowded: bool

    def reached(self, begin: int, upper: int) -> int:
        """Return the seq up to which a read from above `begin` to `upper` knows all that is pending."""
        if not self.is_cut:
            return upper
        return self.seqs[-1] if self.seqs else begin


class ReadSize:
    """The size of the next read of one kind.

    Args:
        rows: At most this many rows.
        buffer_bytes: How much payload may be in memory. A read takes a quarter of it; a single row, twice as much.

    Attributes:
        seqs: The most seqs that the next read may pass over.
    """

    def __init__(self, rows: int, buffer_bytes: int) -> None:
        self._most_rows = rows
        self._buffer_bytes = buffer_bytes
        self._rows = min(_FIRST_ROWS, rows)
        # What was done in time: more is asked for only after so many full reads.
        self._ceiling = rows
        self._full_reads = 0
        self._careful = False
        self._small_reads = 0
        self.seqs = _MOST_SEQS

    def room(self) -> Room:
        """Return how much the next read may bring."""
        return Room(self._rows, self._buffer_bytes // 4, self._buffer_bytes * 2, self._careful)

    def took(self, read: Read) -> None:
        """Learn from a read. One that found nothing says nothing about the size of rows."""
        if not read.seqs and not read.is_crowded:
            return
        if read.is_crowded:
            fitting = max(1, len(read.events))
            self._rows = min(self._rows, fitting * 2) if self._careful else min(self._rows, _CAREFUL_ROWS)
            self._careful, self._small_reads = True, 0
            return
        self.seqs = min(_MOST_SEQS, self.seqs * 2)
        if read.is_cut:
            self._full_reads += 1
            if self._full_reads >= _FULL_READS:
                self._ceiling, self._full_reads = min(self._most_rows, self._ceiling * 2), 0
            self._rows = min(self._ceiling, self._rows * 2)
        if self._careful:
            is_small = all(event.size <= SMALL_BYTES and not event.unread for event in read.events)
            self._small_reads = self._small_reads + 1 if is_small else 0
            self._careful = self._small_reads < _SMALL_READS

    def too_slow(self) -> None:
        """Learn that the read was not done in time: the next one asks for half."""
        self._rows = self._ceiling = max(1, self._rows // 2)
        self._full_reads = 0
        self.seqs = max(1, self.seqs // 2)

    def failed(self) -> bool:
        """Learn that PostgreSQL failed at a value of a row; return whether the next read asks for less.

        It is careful then and asks for half, down to the one row. What is done in time grows again as before.
        """
        can_narrow = self._rows > 1 or not self._careful
        self._rows = max(1, min(self._rows // 2, _CAREFUL_ROWS))
        self._careful, self._small_reads = True, 0
        return can_narrow
