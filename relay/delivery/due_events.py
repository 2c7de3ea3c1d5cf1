"""Due events: what comes back from the outbox when it is due, or because an operator has given it back.

If dead letters bar their keys this decides as well which of them goes, and when a key is free again.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Literal

from relay.delivery.waiting_check import WaitingCheck
from relay.errors import BadValue
from relay.event import Event
from relay.postgres.database import TooSlow
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.rows import NOTHING_DUE
from relay.rules.in_hand import InHand
from relay.rules.order.seq_bounds import LARGEST
from relay.rules.reading.read_batch_size import Read, ReadSize

# What is due is found within the first while some of it is known; what an operator has given back, within the second.
_RETRY_PAUSE_S = 0.25
_DUE_PAUSE_S = 5.0
# Many came back at once: the next ones are asked for after this.
_SHORTEST_PAUSE_S = 0.005
# How often what is known of dead letters and of postponed events is compared with the outbox, seconds.
_CHECK_PAUSE_S = 5.0
_CHECKED_AT_ONCE = 1_000
# A page that brought nothing is followed by a pause of this many times its own length.
_REST = 4


class DueEvents:
    """Takes in what is due.

    Args:
        on_dead: "block": a dead letter bars its key until an operator has decided about it.
        size: How much a page of what is due asks for.
    """

    def __init__(
        self, in_hand: InHand, reader: OutboxReader, on_dead: Literal["skip", "block"], size: ReadSize
    ) -> None:
        self._reader = reader
        self._in_hand = in_hand
        self._lanes = in_hand.lanes
        self._unsettled = in_hand.unsettled
        self._on_dead = on_dead
        self._size = size
        self._waiting = WaitingCheck(in_hand, reader)
        # What is due is read page by page, beyond what is known and cannot go yet, and then from the beginning again.
        self._after = NOTHING_DUE
        self._due_at = 0.0
        self._checked_at = 0.0
        self._checked_up_to = 0
        # Whether events that were due had to stay behind an earlier one of their key, on this pass over what is due.
        self._left_behind = False
        # Dead letters that are pending again with another key and without a retry time, to be read.
        self._given_back: set[int] = set()

    async def begin(self) -> None:
        """Bar the keys of dead letters, if these block: until each was discarded, or given back and sent again."""
        await self._bar(self._in_hand.cursor)

    async def _bar(self, begin: int) -> None:
        """Bar the keys of dead letters that are not known; `begin` as `OutboxReader.blocking` has it."""
        if self._on_dead == "block":
            for seq, key in await self._reader.blocking(begin):
                if not self._unsettled.knows(seq):
                    self._unsettled.block(seq, key)
                    self._lanes.bar(key)

    def due_at(self) -> float:
        """Return when to look again, by the monotonic clock."""
        if self._unsettled.postponed:
            return min(self._due_at, time.monotonic() + _RETRY_PAUSE_S)
        return self._due_at

    async def turn(self, now: float, cursor: int) -> int:
        """Take in a page of what is due up to the cursor, and free the keys about which an operator has decided.

        Args:
            now: By the monotonic clock.
            cursor: What lies above it comes by the fetch.

        Returns:
            How many events were taken in.
        """
        found = 0
        if self._unsettled.postponed:
            self._due_at = min(self._due_at, now + _RETRY_PAUSE_S)
        if now >= self._due_at:
            found = await self._take_due(cursor)
        if now >= self._checked_at:
            self._checked_at = now + _CHECK_PAUSE_S
            found += await self._check_blocked(cursor)
            await self._check_postponed()
        await self._waiting.turn(now)
        return found

    def keep(self, event: Event) -> bool:
        """Leave an event that an earlier run has postponed in the outbox: it comes back when it is due.

        If its key has an earlier event here it queues behind that one instead. If its key is barred an operator has
        given it back, or its head: it takes its turn among the dead letters of the key.

        Returns:
            Whether it stays in the outbox; else it goes the way of every event.
        """
        if not event.postponed:
            return False
        if event.key is not None and self._lanes.barred(event.key):
            self._in_hand.drop([event])
            self._unsettled.block(event.seq, event.key)
            return True
        if self._lanes.busy(event.key):
            return False
        self._in_hand.stick(event)
        self._unsettled.postpone(event)
        return True

    def let_through(self, events: list[Event]) -> list[Event]:
        """Take what a fetch has read and an operator has given back, of keys that are barred; return the other events.

        Such an event takes its turn among the dead letters of its key. A fetch brings it that begins below it: since an
        older event still waits, or since the last relay has crashed.
        """
        others: list[Event] = []
        given_back: list[Event] = []
        for event in events:
            is_barred = event.postponed is False and event.key is not None and self._lanes.barred(event.key)
            (given_back if is_barred else others).append(event)
        self._take_in(given_back, LARGEST)
        return others

    async def _take_due(self, cursor: int) -> int:
        started = time.monotonic()
        try:
            read, self._after = await self._reader.due(self._after, self._size.room())
        except TooSlow:
            self._size.too_slow()
            self._due_at = started + _RETRY_PAUSE_S
            return 0
        except BadValue:
            self._size.failed()
            self._due_at = time.monotonic() + _RETRY_PAUSE_S
            return 0
        self._size.took(read)
        returned = self._take_in(read.events, cursor)
        self._pace(read, returned, started)
        return returned

    def _take_in(self, events: Iterable[Event], cursor: int) -> int:
        """Take in events that were postponed or given back; return how many are on their way."""
        returned = 0
        blocked = self._unsettled.blocked_by_key()
        for event in events:
            known_key, _ = self._unsettled.postponed.get(event.seq, (event.key, 0.0))
            postponed = event.seq in self._unsettled.postponed
            if event.seq > cursor or (not postponed and self._in_hand.comes_again(event)):
                continue
            before = self._unsettled.blocked.get(event.seq)
            if before is not None and before != event.key:
                self._in_hand.unbar(event.seq)
                blocked[before].discard(event.seq)
            others = blocked.get(event.key)
            if event.key is not None and others and not postponed:
                returned += self._let_through(event, event.key, others)
            elif self._unsettled.come_back(event):
                if known_key is not None and known_key != event.key:
                    self._lanes.release_key(known_key)
                if postponed and known_key == event.key:
                    self._lanes.put_back([event], alone=True)
                    returned += 1
                else:
                    # Given back by an operator: it joins its key as the newest event.
                    dropped = self._lanes.offer([event], crowded=self._in_hand.is_crowded())
                    self._in_hand.drop(dropped)
                    returned += not dropped
        return returned

    def _pace(self, read: Read, returned: int, started: float) -> None:
        """Choose when the next page is read: at once while pages bring something, else in a small part of the time."""
        now = time.monotonic()
        if read.is_cut:
            self._due_at = now + (_SHORTEST_PAUSE_S if returned else _REST * (now - started) + _SHORTEST_PAUSE_S)
            return
        self._after = NOTHING_DUE
        is_watched = self._unsettled.postponed or self._left_behind
        self._due_at = now + max(_RETRY_PAUSE_S if is_watched else _DUE_PAUSE_S, _REST * (now - started))
        self._left_behind = False

    async def _check_postponed(self) -> None:
        """Forget some of the postponed events that were deleted, or marked, by somebody else; their keys go on."""
        known = sorted(seq for seq in self._unsettled.postponed if seq > self._checked_up_to)[:_CHECKED_AT_ONCE]
        self._checked_up_to = known[-1] if len(known) == _CHECKED_AT_ONCE else 0
        if not known:
            return
        pending = await self._reader.pending_among(known)
        for key in self._unsettled.forget_postponed(seq for seq in known if seq not in pending):
            self._lanes.release_key(key)
        self._in_hand.may_flow()

    def _let_through(self, event: Event, key: str, blocked: set[int]) -> bool:
        """Send an event that an operator has given back and whose key is barred; return whether it is on its way.

        It is not sent before the earlier dead letters of its key are decided about, nor while another one is out. Until
        then it stays in the outbox and is found again, and what follows in its key waits for it too.
        """
        if self._unsettled.has(event.seq):
            return False
        if any(seq < event.seq for seq in blocked) or not self._lanes.let_through(event):
            self._unsettled.block(event.seq, key)
            self._left_behind = True
            return False
        self._unsettled.come_back(event)
        blocked.discard(event.seq)
        if not blocked:
            self._lanes.unbar(key)
        return True

    async def _check_blocked(self, cursor: int) -> int:
        """Compare what is known of dead letters with the outbox; free the keys that nothing blocks any more.

        An operator may have discarded or deleted one, given it another key, or made it pending by hand. What is pending
        is taken in as it is now.

        Returns:
            How many are on their way.
        """
        seqs = list(self._unsettled.blocked)
        found = await self._reader.undecided(seqs) if seqs else {}
        # What is still in memory is not yet written as a dead letter.
        written = [seq for seq in seqs if not self._unsettled.has(seq)]
        pending = {seq for seq in written if seq in found and not (found[seq].is_dead or found[seq].is_due)}
        for seq in written:
            if seq not in found or found[seq].key != self._unsettled.blocked[seq]:
                self._in_hand.unbar(seq)
        self._given_back |= pending - self._unsettled.blocked.keys()
        await self._bar(self._in_hand.watermark())
        heads = {min(seqs) for seqs in self._unsettled.blocked_by_key().values()}
        return await self._read_again(sorted(self._given_back | (heads & pending)), cursor)

    async def _read_again(self, seqs: Sequence[int], cursor: int) -> int:
        """Take in dead letters that are pending again; those that there is no room for, with the next check."""
        seqs = seqs[:_CHECKED_AT_ONCE]
        if not seqs:
            return 0
        try:
            read = await self._reader.reread(seqs, seqs, self._size.room())
        except TooSlow:
            self._size.too_slow()
            return 0
        except BadValue:
            self._size.failed()
            return 0
        self._size.took(read)
        self._given_back.difference_update(read.seqs if read.is_cut else seqs)
        return self._take_in(read.events, cursor)
