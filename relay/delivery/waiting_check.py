"""What waits in memory is compared with the table: an operator may correct, mark or delete a row meanwhile."""

import logging
from collections import deque

from relay.errors import BadValue
from relay.event import Event
from relay.observe.logs import event as log_event
from relay.postgres.database import TooSlow
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.in_hand import InHand
from relay.rules.reading.in_turn import InTurn
from relay.rules.reading.row_unchanged import Digest, is_still, most_stored

log = logging.getLogger(__name__)

# So often at most, seconds, since what flows waits meanwhile: the database takes 0.5 ms for 100 small events.
_PAUSE_S = 0.25
_A_SECOND = 400
_BYTES_A_SECOND = 2 << 20
# Whose turn it is, is found out for so many at once: a look at 10,000 that wait takes 2 ms.
_CHOSEN = 2_000


class WaitingCheck:
    """Finds events that wait and are not what the table has; has them read again, with all that waits of their keys."""

    def __init__(self, in_hand: InHand, reader: OutboxReader) -> None:
        self._in_hand = in_hand
        self._reader = reader
        self._compared_at = 0.0
        self._turns = InTurn(_BYTES_A_SECOND)
        # Who comes next; some of them may wait no more.
        self._chosen: deque[Event] = deque()
        # Fewer after a failure, down to the one row that fails.
        self._at_once = _A_SECOND

    async def turn(self, now: float) -> None:
        """Compare some of what waits, if that is due.

        Args:
            now: By the monotonic clock.
        """
        since = now - self._compared_at
        if since < _PAUSE_S:
            return
        self._compared_at = now
        asked = self._next(min(1.0, since))
        if not asked:
            return
        try:
            changed, keys = await self._compare(asked)
        except (TooSlow, BadValue) as error:
            if len(asked) > 1:
                self._at_once = len(asked) // 2
                self._chosen.extendleft(reversed(asked))
                return
            # A row that PostgreSQL fails to read is met as such when it is read again.
            changed, keys = {asked[0].seq} if isinstance(error, BadValue) else set(), set()
        self._at_once = min(_A_SECOND, self._at_once * 2)
        again = self._in_hand.read_again(changed, keys) if changed else 0
        if again:
            log_event(
                log,
                "info",
                "waiting.changed",
                "rows of events that wait were changed, marked or deleted; they are read again",
                events=len(changed),
                read_again=again,
                first_seq=min(changed),
            )

    def _next(self, since_s: float) -> list[Event]:
        """Take the events whose turn it is, as many as may be compared for so many seconds; one of any size."""
        if not self._chosen:
            self._chosen.extend(self._turns.next(self._in_hand.waiting_events(), _CHOSEN))
            if self._chosen:
                self._turns.done(self._chosen)
        taken: list[Event] = []
        size, most, most_bytes = 0, min(self._at_once, round(_A_SECOND * since_s)), _BYTES_A_SECOND * since_s
        while self._chosen and len(taken) < most:
            size += self._chosen[0].size
            if taken and size > most_bytes:
                break
            taken.append(self._chosen.popleft())
        return taken

    async def _compare(self, asked: list[Event]) -> tuple[set[int], set[str]]:
        """Return the seqs of the events that are not what the table has, and the keys that these have there.

        Of an event that was not read whole only the row has to be there still, pending.
        """
        whole = [event for event in asked if not event.unread]
        found: dict[int, Digest] = {}
        if whole:
            found = await self._reader.digests([event.seq for event in whole], most_stored(whole))
        changed = {event.seq for event in whole if not is_still(event, found.get(event.seq))}
        unread = {event.seq for event in asked if event.unread}
        if unread:
            changed |= unread - await self._reader.pending_among(sorted(unread))
        keys = {found[seq].key for seq in changed & found.keys()}
        return changed, {key for key in keys if key is not None}
