"""All that a term holds in memory, and what follows from it. Pure: no I/O, no clock; signals are handed in.

A term owns one `InHand`. Its tasks change it through the methods of its parts: the fetcher takes events in, the
publisher moves them into flight, the settler forgets them. None of them asks another one.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from relay.event import Event
from relay.outcomes import Delivered
from relay.rules.database.database_state import DatabaseState
from relay.rules.failure.holds import Holds
from relay.rules.order.gaps import Gaps
from relay.rules.order.lanes import Lanes
from relay.rules.sending.in_doubt import InDoubt
from relay.rules.sending.in_flight import Batch, InFlight
from relay.rules.settling.set_aside import SetAside
from relay.rules.settling.unsettled import Unsettled
from relay.rules.stream.set_back_suspects import SetBackSuspects
from relay.rules.stream.stream_floors import Floors
from relay.rules.stream.streams import StreamMap
from relay.rules.wake_signal import Signal

# What is done with many events in several passes is done with so many at a time, while the cores have them at hand.
_IN_CACHE = 500


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be in memory.

    Attributes:
        events: Events that can flow.
        payload_bytes: Payload and headers of the events that can flow. Those that wait have half as much besides.
        waiting: Events that cannot be sent now. Further ones are left in the outbox.
        unmarked: Stored events whose marks are not made. They take no room of the others, some 600 bytes each.
    """

    events: int
    payload_bytes: int
    waiting: int
    unmarked: int = 50_000


class InHand:
    """The events of a term from their fetch to their mark.

    Args:
        lanes: Keep the order of each key.
        holds: What waits for a stream or a subject.
        limits: How much may be in memory.
        signal: Makes the signals.
        watermark: Everything up to this seq is settled: reading begins above it.
        database: How the database was found at that moment.

    Attributes:
        database: The database that all of this was read from.
        cursor: Everything up to this seq was read, but for the gaps.
        furthest: The highest cursor of this database.
        newest: The newest seq that was seen in the outbox, without rows beyond what the sequence has drawn.
        backfilling: From this seq on, what was dropped from memory is being read again.
        aside: What is stored and could not be marked yet.
        in_flight: What was sent by itself and is not answered, by seq.
        batches: The atomic batches that are not answered, by number.
        to_look_for: Events in doubt that have to be found in their stream, or not, before they are sent again.
        to_send: Set when events may be sent.
        room: Set when events were settled, may be sent, or wait and take no room. Who waits for that clears it first.
        look_for_wanted: Set when there is something new in `to_look_for`, or a stream is to be looked at.
        looked: Set when a stream of these was looked at. Who waits for that clears it first.
        set_backs: Which streams may have lost what they had acknowledged.
    """

    def __init__(
        self,
        *,
        lanes: Lanes,
        holds: Holds,
        limits: Limits,
        signal: Callable[[], Signal],
        watermark: int,
        database: DatabaseState,
    ) -> None:
        self.lanes = lanes
        self.holds = holds
        self.limits = limits
        self.unsettled = Unsettled()
        self.gaps = Gaps()
        self.streams = StreamMap()
        self.in_doubt = InDoubt(self.streams.since)
        self.floors = Floors()
        self.cursor = watermark
        self.database = database
        self.newest = database.newest_drawn()
        # When a beat last saw it so; what the term began with was seen by none.
        self._saw_at: float | None = None
        self.furthest = watermark
        self.backfilling: int | None = None
        self.in_flight: dict[int, InFlight] = {}
        self.batches: dict[int, Batch] = {}
        self.to_look_for: deque[Event] = deque()
        self.to_send = signal()
        self.room = signal()
        self.look_for_wanted = signal()
        self.looked = signal()
        self.set_backs = SetBackSuspects(self.look_for_wanted.set, self.looked.set)
        self._acknowledged: deque[Delivered] = deque()
        self._marking: list[Delivered] = []
        self.aside = SetAside(limits.unmarked)
        self._hold_ended = False

    # What was read.

    def rewind(self, watermark: int, newest: int) -> None:
        """Read again from the watermark on. What is in memory stays, and is not taken in twice."""
        self.gaps = Gaps()
        self.backfilling = None
        self.lanes.all_again()
        self.cursor = self.furthest = min(self.cursor, watermark)
        self.newest = newest

    def read_up_to(self, seq: int) -> None:
        """Move the cursor: everything up to `seq` was read, but for the gaps."""
        self.cursor = seq
        self.furthest = max(self.furthest, seq)
        self.newest = max(self.newest, seq)

    def saw(self, database: DatabaseState, at: float) -> None:
        """Note how a beat found the database, which is still the one that was read.

        Args:
            database: What it found.
            at: When it was sent, monotonic seconds.

        A row that was inserted by hand with a seq far ahead takes the cursor there. It comes back to what the sequence
        has drawn: what is yet to be drawn is no gap, and is read at once when it is there.
        """
        drawn = database.drawn
        if database.overtaken() and drawn is not None and drawn < self.cursor:
            self.gaps.cut(drawn)
            self.cursor = drawn
        self.database, self._saw_at = database, at
        self.newest = max(self.cursor, database.newest_drawn())

    def saw_nothing_new_at(self) -> float | None:
        """Return when a beat looked last, monotonic seconds; None if something was visible above the cursor."""
        return self._saw_at if self.database.newest <= self.cursor else None

    def begin_backfill(self) -> None:
        """Begin to read again what was dropped from memory behind lanes that were stuck."""
        self._hold_ended = False
        dropped_from = self.lanes.begin_again()
        self.backfilled_up_to(self.cursor if dropped_from is None else dropped_from - 1)

    def backfilled_up_to(self, seq: int) -> None:
        """Note how far what was dropped was read again; at the cursor that is done."""
        self.backfilling = None if seq >= self.cursor else seq + 1
        if self.backfilling is None:
            self.lanes.all_again()

    def comes_again(self, event: Event) -> bool:
        """Report whether an event is left to the reading again: earlier ones of its key come before it."""
        return self.backfilling is not None and event.seq >= self.backfilling and self.lanes.returns(event.key)

    def can_backfill(self) -> bool:
        """Report whether events that were dropped from memory could flow now."""
        return self.lanes.can_resume or self._hold_ended

    def drop(self, events: list[Event]) -> None:
        """Leave events in the outbox, to be read again."""
        self.unsettled.forget(events)
        self.room.set()

    def stick(self, event: Event) -> None:
        """Have a taken event keep its key waiting; while it waits it takes no room from the rest."""
        self.lanes.stick(event)
        self.room.set()

    def waiting_events(self) -> list[Event]:
        """Return the events that wait in holds or behind stuck heads, in no order."""
        return [*(event for hold in self.holds.open.values() for event in hold.parked), *self.lanes.queued()]

    def read_again(self, seqs: Collection[int], keys: Collection[str]) -> int:
        """Leave waiting events in the outbox, to be read again at once as they are now.

        With each goes all that waits of its key and of the keys that it is to join, so that these are read in order.

        Args:
            seqs: The events; those that do not wait any more are left alone.
            keys: The keys that they have in the outbox.

        Returns:
            How many were left in the outbox.
        """
        changed = [event for event in self.waiting_events() if event.seq in seqs]
        if not changed:
            return 0
        return self._read_again(seqs, {*keys, *(event.key for event in changed)}, [])

    def read_decided_again(self, event: Event, keys: Collection[str]) -> int:
        """Leave an event in the outbox, to be read again at once, since its row is not what was decided about.

        It was to be postponed, or to become a dead letter, and was not written down as such. With it goes what waits of
        its key and of the keys that it is to join.

        Args:
            event: What was decided about.
            keys: The keys that it has in the outbox.

        Returns:
            How many were left in the outbox; 0 if the event has been taken in again already, or is settled.
        """
        seq, unsettled = event.seq, self.unsettled
        if seq not in unsettled.in_memory and seq not in unsettled.postponed:
            return 0
        if unsettled.postponed.pop(seq, None) is not None or seq in unsettled.blocked or seq in unsettled.burying:
            unsettled.burying.discard(seq)
            dropped = self.lanes.drop_head(event)
        else:
            self.lanes.drop(event)
            dropped = [event]
        self.unbar(seq)
        return self._read_again({seq}, {*keys, event.key}, dropped)

    def _read_again(self, seqs: Collection[int], keys: Collection[str | None], dropped: list[Event]) -> int:
        affected = {key for key in keys if key is not None}
        for head in self.holds.unpark(lambda event: event.seq in seqs or event.key in affected):
            dropped += self.lanes.drop_head(head)
        for key in affected:
            dropped += self.lanes.drop_queue(key)
        self.drop(dropped)
        self._hold_ended = True
        self.may_flow()
        return len(dropped)

    def unbar(self, seq: int) -> None:
        """Let the key of an event go that is no dead letter after all, unless another one bars it."""
        if seq in self.unsettled.blocked:
            for key in self.unsettled.unblock([seq]):
                self.lanes.unbar(key)

    # What may be sent.

    def may_flow(self) -> None:
        """Wake who sends and who waits for room: what could not be sent before can be now."""
        self.to_send.set()
        self.room.set()

    def resume(self, parked: Sequence[Event]) -> None:
        """Return to the lanes the events whose hold has ended.

        They go one by one: more than one of a key may be parked only behind its lane, never in the hold itself.
        """
        self.lanes.put_back(parked, alone=True)
        self._hold_ended = True
        self.to_send.set()

    def look_for(self, event: Event) -> None:
        """Have an event looked for in its stream before it is sent again; until then its key waits."""
        self.stick(event)
        self.to_look_for.append(event)
        self.look_for_wanted.set()

    # What was sent.

    def take_in_flight(self) -> Iterator[tuple[Event, float]]:
        """Take all that is in flight, with the time at which it was sent: its connection has ended."""
        sent = [(event, sent_at) for event, _, sent_at in self.in_flight.values()]
        for batch in self.batches.values():
            sent += [(event, batch.sent_at) for event in batch.events]
        self.in_flight.clear()
        self.batches.clear()
        return iter(sorted(sent, key=lambda one: one[0].seq))

    def in_flight_count(self) -> int:
        """Return how many events were sent and are not answered."""
        return len(self.in_flight) + sum(len(batch.events) for batch in self.batches.values())

    def acknowledged(self, delivered: Sequence[Delivered]) -> None:
        """Take acknowledged events, to be marked."""
        self._acknowledged.extend(delivered)
        self.set_backs.acknowledged(delivered)

    def to_mark(self) -> int:
        """Return how many acknowledged events wait for their mark."""
        return len(self._acknowledged)

    def begin_marking(self, limit: int) -> list[Delivered]:
        """Take the next acknowledged events, at most `limit`, to be marked now."""
        waiting = self._acknowledged
        if len(waiting) <= limit:
            self._marking = list(waiting)
            waiting.clear()
        else:
            self._marking = [waiting.popleft() for _ in range(limit)]
        return self._marking

    def marking(self) -> Sequence[Delivered]:
        """Return the events whose marking was begun."""
        return self._marking

    def marked(self, left: Collection[int] = ()) -> None:
        """Forget the events that were just marked, but for those that could not be, the seqs in `left`."""
        done = [one for one in self._marking if one[0].seq not in left] if left else self._marking
        for at in range(0, len(done), _IN_CACHE):
            events = [one[0] for one in done[at : at + _IN_CACHE]]
            self.unsettled.forget(events)
            if self.aside:
                self.aside.forget([event.seq for event in events])
        if left:
            aside = [one for one in self._marking if one[0].seq in left]
            self.unsettled.strip([one[0].seq for one in aside])
            self.aside.put(aside)
            self.room.set()
        self._marking = []

    def mark_again(self) -> list[Delivered]:
        """Take the acknowledged events that could not be marked before, to be marked now."""
        self._marking = self.aside.take()
        return self._marking

    def bury(self, event: Event) -> None:
        """Keep the key of a taken event waiting until its death is written: a crash before has it sent again."""
        self.stick(event)
        self.unsettled.burying.add(event.seq)

    def buried(self, event: Event) -> None:
        """Forget a dead letter that is written, and let its key go on, or wait for the operator."""
        if self.unsettled.forget_dead(event):
            self.lanes.release(event)
            self.to_send.set()

    # What follows.

    def watermark(self) -> int:
        """Return the seq up to which every event is settled, as far as is known now."""
        missing = self.gaps.lowest()
        rows = min(self.cursor, self.rows_settled_up_to())
        return rows if missing is None else min(rows, missing - 1)

    def rows_settled_up_to(self) -> int:
        """Return the seq up to which every row that was ever read is settled, whatever is missing between them."""
        known = self.unsettled.lowest(), self.lanes.overflow_from, self.backfilling
        return min([self.furthest, *(seq - 1 for seq in known if seq is not None)])

    def waiting(self) -> int:
        """Return how many events in memory wait behind a failing head or in a hold."""
        return self.lanes.stuck_events + self.holds.parked_events

    def can_flow(self) -> int:
        """Return how many events in memory nothing keeps waiting, and that are not set aside."""
        return len(self.unsettled.in_memory) - self.waiting() - len(self.aside)

    def waiting_bytes(self) -> int:
        """Return how many bytes those events take that wait behind a failing head or in a hold."""
        return self.lanes.stuck_bytes + self.holds.parked_bytes

    def has_room(self) -> bool:
        """Report whether more may be read. What cannot be sent now takes no room from the rest, in events or bytes."""
        flowing_bytes = self.unsettled.payload_bytes - self.waiting_bytes()
        is_full = self.can_flow() >= self.limits.events or flowing_bytes >= self.limits.payload_bytes
        return not (is_full or self.aside.is_full)

    def marks_are_awaited(self) -> bool:
        """Report whether somebody waits until events are marked: for room, or for their end."""
        return not (self.room.is_set() and self.has_room())

    def is_crowded(self) -> bool:
        """Report whether memory is too short for more events that wait: they may have half as much as what flows."""
        return self.waiting_bytes() > self.limits.payload_bytes // 2

    def should_flow(self) -> bool:
        """Report whether there is something that nothing keeps from being sent and settled, whatever is held."""
        sent = self.in_flight_count() > self.holds.probes()
        # Memory is full of what can flow, and not because it waits for its marks.
        is_full = not (self.has_room() or self._acknowledged or self._marking or self.aside.is_full)
        return len(self.lanes) > 0 or sent or is_full

    def may_not_wait(self) -> bool:
        """Report whether no more events may wait in memory."""
        return self.waiting() >= self.limits.waiting or self.is_crowded()

    def unmarked(self) -> set[int]:
        """Return the seqs of what was acknowledged and is not marked yet."""
        return {one[0].seq for waiting in (self._acknowledged, self._marking) for one in waiting}.union(self.aside.seqs)

    def sent_unmarked(self) -> set[int]:
        """Return the seqs of what was sent and is not marked."""
        batched = (event.seq for batch in self.batches.values() for event in batch.events)
        return {*self.in_flight, *batched, *self.unmarked(), *self.in_doubt.since, *self.in_doubt.found}

    def backlog(self, ratio: float) -> int:
        """Estimate how many events are neither delivered nor dead.

        Args:
            ratio: Which part of the outbox's events is ours, 0 to 1.
        """
        ahead = round(max(0, self.newest - self.cursor) * ratio)
        return ahead + len(self.unsettled.in_memory) + len(self.unsettled.postponed)
