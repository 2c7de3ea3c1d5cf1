"""The scrub: looks for pending rows far behind the cursor, a small range at a time: a safety net.

There are none unless seqs were not drawn in order: a sequence with a cache, a restored dump, rows written by hand, or
a mark that was taken back.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from relay.delivery.scrub_care import ScrubCare
from relay.delivery.trial import TICK_S
from relay.event import Event
from relay.observe.logs import event as log_event
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.in_hand import InHand
from relay.rules.reading.read_batch_size import Read, ReadSize, Room
from relay.rules.reading.scrub_findings import ScrubFindings
from relay.rules.reading.scrub_pass import STEP_S, ScrubPass, comes_by_itself

log = logging.getLogger(__name__)

# It takes a fifth of the time at most.
_REST = 4
# So many pending rows are read at a time: some 1 ms, for which a new event may have to wait.
SCRUB_ROWS = 250

Reading = Callable[[ReadSize, Callable[[Room], Awaitable[Read]]], Awaitable[Read | None]]


class Scrub:
    """Passes over the whole table again and again, whatever comes meanwhile.

    Args:
        read: Reads as much as there is room for; returns None if that was not done.
        size: How much a step reads.
    """

    def __init__(self, in_hand: InHand, reader: OutboxReader, read: Reading, size: ReadSize) -> None:
        self._in_hand = in_hand
        self._reader = reader
        self._read = read
        self._size = size
        self._pass = ScrubPass()
        self._findings = ScrubFindings()
        # Whether the previous step was cut short among many pending rows.
        self._goes_on = False
        self._care: ScrubCare | None = None
        # When the next step is due, by the monotonic clock.
        self.due_at = time.monotonic() + STEP_S

    @property
    def in_vain(self) -> int:
        """How many events are pending again as soon as they are marked, and are not sent again."""
        return self._findings.in_vain

    def clear(self) -> None:
        """Forget what was found: the connection is new."""
        self._findings.clear()

    def be_careful(self, care: ScrubCare) -> None:
        """Let out what is found group by group: the term began after a crash."""
        self._care = care

    async def step(self) -> list[Event]:
        """Read the next range; return the events in it that nobody has in hand and that are to be sent."""
        began, cursor = time.monotonic(), self._in_hand.cursor
        self.due_at = began + STEP_S
        if self._care is not None and not await self._care.may_go_on():
            self.due_at = began + TICK_S
            return []
        wanted = self._pass.step(await self._following(), cursor, self._size.seqs)
        if wanted is None:
            return []
        above, upper = wanted
        if self._care is not None:
            upper, is_read = await self._care.look(above, upper, SCRUB_ROWS, self._would_be_sent)
            if not is_read:
                self._pass.passed(upper, cursor)
                return []
        read = await self._read(self._size, partial(self._reader.fetch, above, upper))
        if read is None:
            return []
        reached = read.reached(above, upper)
        self._pass.passed(reached, cursor)
        self._goes_on = read.is_cut
        now = time.monotonic()
        self.due_at = max(began + self._pass.pause_s(reached - above), now + _REST * (now - began))
        self._findings.passed(above, reached, {event.seq for event in read.events})
        to_send = self._to_send([event for event in read.events if not comes_by_itself(self._in_hand, event)])
        if self._care is None:
            return to_send
        if self._care.is_waited_for():
            self.due_at = now + TICK_S
        return [self._care.cleared(event) for event in to_send]

    def _would_be_sent(self, event: Event) -> bool:
        return not (comes_by_itself(self._in_hand, event) or self._findings.has_sent(event.seq))

    async def _following(self) -> int | None:
        """Return the first seq of the next step; it is looked for only if rows may be far away."""
        goes_on, self._goes_on = self._goes_on, False
        return self._pass.above + 1 if goes_on else await self._reader.next_seq(self._pass.above)

    def _to_send(self, lost: list[Event]) -> list[Event]:
        """Report what was found; return what is sent."""
        to_send, in_vain = self._findings.found(event.seq for event in lost)
        if in_vain:
            log_event(
                log,
                "error",
                "scrub.in_vain",
                "events are pending as soon as they are marked delivered, as a trigger may do it; they are not sent"
                " again until another term begins",
                events=len(in_vain),
                first_seq=min(in_vain),
            )
        lost = [event for event in lost if event.seq in to_send]
        if lost:
            log_event(
                log,
                "warning",
                "scrub.found",
                "pending events were found behind the cursor: is the sequence cached, or were rows written by hand?",
                events=len(lost),
                first_seq=lost[0].seq,
                event_id=lost[0].id,
            )
        return lost
