"""What is neither delivered nor dead, as far as the relay has read: the base of the watermark. Pure."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import itemgetter

from relay.event import Event, size_of_all

_SEQ = itemgetter(Event._fields.index("seq"))


class Unsettled:
    """Keeps every event from its fetch until the database says it is settled.

    Attributes:
        in_memory: Events in memory, by seq.
        postponed: Events that wait in the outbox for their retry: seq to key and time of creation.
        blocked: Dead letters that keep their key waiting, and those that an operator has retried and that wait for
            their turn: seq to key.
        burying: Those in memory that become dead letters, and whose keys wait until that is written.
        payload_bytes: How much payload and headers the events in memory hold.
    """

    def __init__(self) -> None:
        self.in_memory: dict[int, Event] = {}
        self.postponed: dict[int, tuple[str | None, float]] = {}
        self.blocked: dict[int, str] = {}
        self.burying: set[int] = set()
        self.payload_bytes = 0
        self._just_settled: set[int] = set()
        # No unsettled seq is lower; it may be settled itself.
        self._none_below: int | None = None
        # How many reads are under way, one within another.
        self._reads = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read the outbox, and take in what was read, within this.

        An event that is settled meanwhile may still be pending in what a read has returned, and must not be taken for
        a new one. Further reads may come before that is taken in: what was settled is remembered from the beginning of
        the first one on.
        """
        if not self._reads:
            self._just_settled.clear()
        self._reads += 1
        try:
            yield
        finally:
            self._reads -= 1

    def knows(self, seq: int) -> bool:
        """Report whether an event that was read is in our hands, or was until a moment ago."""
        return self.has(seq) or seq in self.postponed or seq in self.blocked

    def has(self, seq: int) -> bool:
        """Report whether an event that was read is in memory, or was until a moment ago."""
        return seq in self.in_memory or seq in self._just_settled

    def block(self, seq: int, key: str) -> None:
        """Note a dead letter that keeps its key waiting."""
        self.blocked[seq] = key

    def unblock(self, seqs: Iterable[int]) -> set[str]:
        """Forget blocking dead letters that were decided; return their keys that nothing else blocks."""
        decided = {self.blocked.pop(seq) for seq in seqs}
        return decided.difference(self.blocked.values())

    def blocked_by_key(self) -> dict[str | None, set[int]]:
        """Return the seqs of `blocked` by their keys."""
        by_key: dict[str | None, set[int]] = {}
        for seq, key in self.blocked.items():
            by_key.setdefault(key, set()).add(seq)
        return by_key

    def take_in(self, events: list[Event]) -> list[Event]:
        """Enter fetched events; return those that were not known, in their order."""
        in_memory, postponed, just_settled = self.in_memory, self.postponed, self._just_settled
        seqs: list[int] = list(map(_SEQ, events))
        if postponed or self.blocked or not (in_memory.keys().isdisjoint(seqs) and just_settled.isdisjoint(seqs)):
            events = [event for event in events if not self.knows(event.seq)]
            seqs = [event.seq for event in events]
        in_memory.update(zip(seqs, events, strict=True))
        self.payload_bytes += size_of_all(events)
        if seqs:
            self._enter(min(seqs))
        return events

    def come_back(self, event: Event) -> bool:
        """Enter a postponed event whose retry is due; return False if it is in memory already."""
        if self.has(event.seq):
            return False
        self.postponed.pop(event.seq, None)
        self.blocked.pop(event.seq, None)
        self.in_memory[event.seq] = event
        self.payload_bytes += event.size
        self._enter(event.seq)
        return True

    def forget(self, events: list[Event]) -> None:
        """Forget events that are settled, or were dropped and will be read again."""
        seqs: list[int] = list(map(_SEQ, events))
        self._just_settled.update(seqs)
        take = self.in_memory.pop
        self.payload_bytes -= size_of_all([known for seq in seqs if (known := take(seq, None)) is not None])

    def forget_dead(self, event: Event) -> bool:
        """Forget an event whose death is written; report whether its key waited for that."""
        self.forget([event])
        keeps_key = event.seq in self.burying
        self.burying.discard(event.seq)
        return keeps_key

    def strip(self, seqs: Iterable[int]) -> None:
        """Note that payload and headers of events in memory were let go."""
        for seq in seqs:
            event = self.in_memory[seq]
            self.in_memory[seq] = event.stripped()
            self.payload_bytes -= event.size

    def postpone(self, event: Event) -> None:
        """Move an event from memory to those that wait in the outbox."""
        self.forget([event])
        self.postponed[event.seq] = (event.key, event.created_at)
        self._enter(event.seq)

    def forget_postponed(self, seqs: Iterable[int]) -> set[str]:
        """Forget postponed events that are not pending any more; return their keys."""
        forgotten = [self.postponed.pop(seq, (None, 0.0))[0] for seq in seqs]
        return {key for key in forgotten if key is not None}

    def lowest(self) -> int | None:
        """Return the lowest seq that is not settled; looked for only if that of the last call is settled by now."""
        known = self._none_below
        if known is None or not (known in self.in_memory or known in self.postponed):
            known = min((min(seqs) for seqs in (self.in_memory, self.postponed) if seqs), default=None)
            self._none_below = known
        return known

    def _enter(self, seq: int) -> None:
        if self._none_below is not None and seq < self._none_below:
            self._none_below = seq

    def oldest_postponed_at(self) -> float | None:
        """Return the time of creation of the postponed event with the lowest seq, Unix seconds."""
        return self.postponed[min(self.postponed)][1] if self.postponed else None

    def oldest_created_at(self) -> float | None:
        """Return the time of creation of the unsettled event with the lowest seq, Unix seconds."""
        seq = self.lowest()
        if seq is None:
            return None
        found = self.in_memory.get(seq)
        return found.created_at if found is not None else self.postponed[seq][1]
