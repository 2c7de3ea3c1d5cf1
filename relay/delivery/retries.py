"""Retries: what comes back from the outbox when it is due, or because a person has given it back.

Where dead letters bar their keys this decides as well which of them goes, and when a key is free again.
"""

from typing import Literal

from relay.event import Event
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.in_hand import InHand

# What is due is found within the first while some of it is known, and what a person has given back within the second.
_RETRY_PAUSE_S = 0.25
_DUE_PAUSE_S = 5.0
# Many came back at once: the next ones are asked for after this.
_SHORTEST_PAUSE_S = 0.005
_BLOCKED_PAUSE_S = 5.0


class Retries:
    """Takes in what is due.

    Args:
        on_dead: "block": a dead letter bars its key until a person has decided about it.
    """

    def __init__(self, in_hand: InHand, reader: OutboxReader, on_dead: Literal["skip", "block"]) -> None:
        self._reader = reader
        self._in_hand = in_hand
        self._lanes = in_hand.lanes
        self._unsettled = in_hand.unsettled
        self._on_dead = on_dead
        self._asked_at = 0.0
        self._more = False
        self._blocked_at = 0.0
        # Events that were due and had to stay behind an earlier one of their key.
        self._left_behind = 0

    async def begin(self) -> None:
        """Bar the keys of the dead letters that nobody has decided about, where these block."""
        if self._on_dead == "block":
            for seq, key in await self._reader.blocking():
                self._unsettled.block(seq, key)
                self._lanes.bar(key)

    def due_at(self) -> float:
        """Give when to look again, by the monotonic clock."""
        if self._more:
            return self._asked_at + _SHORTEST_PAUSE_S
        return self._asked_at + (_RETRY_PAUSE_S if self._unsettled.postponed or self._left_behind else _DUE_PAUSE_S)

    async def turn(self, now: float, cursor: int, limit: int) -> int:
        """Take in what is due up to the cursor, and free the keys about which a person has decided.

        Args:
            now: By the monotonic clock.
            cursor: What lies above it comes by the fetch.
            limit: The most events that are read.

        Returns:
            How many events were taken in.
        """
        found = 0
        if now >= self.due_at():
            found = await self._take_due(now, cursor, limit)
        if self._unsettled.blocked and now >= self._blocked_at:
            self._blocked_at = now + _BLOCKED_PAUSE_S
            await self._unblock()
        return found

    def keep(self, event: Event) -> bool:
        """Leave an event that an earlier run has postponed in the outbox: it comes back when it is due.

        Where its key has an earlier event here it queues behind that one instead. Where its key is barred a person
        has given it back, or its head: it takes its turn among the dead letters of the key.

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
        self._lanes.stick(event)
        self._unsettled.postpone(event)
        return True

    async def _take_due(self, now: float, cursor: int, limit: int) -> int:
        self._unsettled.begin_read()
        limit += self._left_behind
        events = await self._reader.due(limit)
        self._asked_at = now
        self._left_behind = 0
        returned = 0
        blocked = self._unsettled.blocked_by_key()
        for event in events:
            postponed = event.seq in self._unsettled.postponed
            if event.seq > cursor:
                continue
            if event.key is not None and event.key in blocked and not postponed:
                returned += self._let_through(event, event.key, blocked[event.key])
            elif self._unsettled.come_back(event):
                returned += 1
                if postponed:
                    self._lanes.put_back([event], alone=True)
                else:
                    # Given back by a person: it joins its key as the newest event.
                    self._in_hand.drop(self._lanes.offer([event]))
        # Many were given back at once, as after a loss of the stream.
        self._more = returned > 0 and len(events) == limit
        return returned

    def _let_through(self, event: Event, key: str, blocked: set[int]) -> bool:
        """Send an event that a person has given back and whose key is barred; gives whether it is on its way.

        Not before the earlier dead letters of its key are decided about, nor while another one is out: until
        then it stays in the outbox and is found again, and what follows in its key waits for it too.
        """
        if self._unsettled.has(event.seq):
            return False
        if any(seq < event.seq for seq in blocked) or not self._lanes.let_through(event):
            self._unsettled.block(event.seq, key)
            self._left_behind += 1
            return False
        self._unsettled.come_back(event)
        blocked.discard(event.seq)
        if not blocked:
            self._lanes.unbar(key)
        return True

    async def _unblock(self) -> None:
        """Let the keys go on whose dead letters were all discarded, or deleted."""
        seqs = list(self._unsettled.blocked)
        undecided = await self._reader.undecided(seqs)
        for key in self._unsettled.unblock(seq for seq in seqs if seq not in undecided):
            self._lanes.unbar(key)
