"""What is neither delivered nor dead, as far as the relay has read: the base of the watermark. Pure."""

from relay.event import Event


class Books:
    """Keeps every event from its fetch until the database says it is settled.

    Attributes:
        unsettled: Events in memory: seq to time of creation (Unix seconds).
        postponed: Events that wait in the outbox for their retry: seq to key and time of creation.
        blocked: Dead letters that keep their key waiting, and those that a person has given back and whose turn has
            not come: seq to key.
    """

    def __init__(self) -> None:
        self.unsettled: dict[int, float] = {}
        self.postponed: dict[int, tuple[str | None, float]] = {}
        self.blocked: dict[int, str] = {}
        self.payload_bytes = 0
        self._struck: set[int] = set()

    def begin_read(self) -> None:
        """Say that a read of the outbox begins now.

        An event that is settled while the read is under way may still be pending in what it returns, and must
        not be taken for a new one.
        """
        self._struck.clear()

    def knows(self, seq: int) -> bool:
        """Tell whether an event that the last read returned is in our hands, or was until a moment ago."""
        return self.has(seq) or seq in self.postponed or seq in self.blocked

    def has(self, seq: int) -> bool:
        """Tell whether an event that the last read returned is in memory, or was until a moment ago."""
        return seq in self.unsettled or seq in self._struck

    def blocked_by_key(self) -> dict[str | None, set[int]]:
        """Give the seqs of `blocked` by their keys."""
        by_key: dict[str | None, set[int]] = {}
        for seq, key in self.blocked.items():
            by_key.setdefault(key, set()).add(seq)
        return by_key

    def take_in(self, events: list[Event]) -> list[Event]:
        """Enter fetched events; gives those that were not known, in their order."""
        unsettled, postponed, struck = self.unsettled, self.postponed, self._struck
        seqs = [event.seq for event in events]
        if postponed or self.blocked or not (unsettled.keys().isdisjoint(seqs) and struck.isdisjoint(seqs)):
            events = [event for event in events if not self.knows(event.seq)]
        unsettled.update([(event.seq, event.created_at) for event in events])
        self.payload_bytes += sum([len(event.payload) for event in events])
        return events

    def come_back(self, event: Event) -> bool:
        """Enter a postponed event whose retry is due; False where it is in memory already."""
        if self.has(event.seq):
            return False
        self.postponed.pop(event.seq, None)
        self.blocked.pop(event.seq, None)
        self.unsettled[event.seq] = event.created_at
        self.payload_bytes += len(event.payload)
        return True

    def settle(self, events: list[Event]) -> None:
        """Strike events that are settled, or dropped to be read again, from memory."""
        unsettled = self.unsettled
        self._struck.update([event.seq for event in events])
        for event in events:
            if unsettled.pop(event.seq, None) is not None:
                self.payload_bytes -= len(event.payload)

    def postpone(self, event: Event) -> None:
        """Move an event from memory to those that wait in the outbox."""
        self.settle([event])
        self.postponed[event.seq] = (event.key, event.created_at)

    def lowest(self) -> int | None:
        """Give the lowest seq that is not settled."""
        return min((min(book) for book in (self.unsettled, self.postponed) if book), default=None)

    def oldest_postponed_at(self) -> float | None:
        """Give the time of creation of the postponed event with the lowest seq, Unix seconds."""
        return self.postponed[min(self.postponed)][1] if self.postponed else None

    def oldest_created_at(self) -> float | None:
        """Give the time of creation of the unsettled event with the lowest seq, Unix seconds."""
        seq = self.lowest()
        if seq is None:
            return None
        found = self.unsettled.get(seq)
        return found if found is not None else self.postponed[seq][1]
