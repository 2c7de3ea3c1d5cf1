"""What is neither delivered nor dead, as far as the relay has read: the base of the watermark. Pure."""

from relay.event import Event


class Books:
    """Keeps every event from its fetch until the database says it is settled.

    Attributes:
        unsettled: Events in memory: seq to time of creation (Unix seconds).
        postponed: Events that wait in the outbox for their retry: seq to key and time of creation.
        blocked: Dead letters that keep their key waiting: seq to key.
    """

    def __init__(self) -> None:
        self.unsettled: dict[int, float] = {}
        self.postponed: dict[int, tuple[str | None, float]] = {}
        self.blocked: dict[int, str] = {}
        self.payload_bytes = 0

    def take_in(self, events: list[Event]) -> list[Event]:
        """Enter fetched events; gives those that were not known, in their order."""
        unsettled = self.unsettled
        new = [event for event in events if event.seq not in unsettled and event.seq not in self.postponed]
        for event in new:
            unsettled[event.seq] = event.created_at
            self.payload_bytes += len(event.payload)
        return new

    def come_back(self, event: Event) -> bool:
        """Enter a postponed event whose retry is due; False where it is in memory already."""
        if event.seq in self.unsettled:
            return False
        self.postponed.pop(event.seq, None)
        self.unsettled[event.seq] = event.created_at
        self.payload_bytes += len(event.payload)
        return True

    def settle(self, events: list[Event]) -> None:
        """Strike events that are settled, or dropped to be read again, from memory."""
        unsettled = self.unsettled
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

    def oldest_created_at(self) -> float | None:
        """Give the time of creation of the unsettled event with the lowest seq, Unix seconds."""
        seq = self.lowest()
        if seq is None:
            return None
        found = self.unsettled.get(seq)
        return found if found is not None else self.postponed[seq][1]
