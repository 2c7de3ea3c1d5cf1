"""Scrub carefully in a term that began after a crash: what ended the relay may lie behind the watermark.

A start after a crash looks above the watermark alone, and outlives that. So what the scrub finds is let out as a start
lets out its suspects (`relay.rules.failure.crash_suspects`), but nothing else waits for it.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from relay.delivery.marker import log_refused_row
from relay.delivery.refusals import Refusals
from relay.delivery.trial import PATIENCE_S, Trial
from relay.errors import StatementRefused
from relay.event import Event
from relay.postgres.database import Unfinished
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.failure.crash_suspects import next_group, why_given_up
from relay.rules.in_hand import InHand
from relay.rules.sending.send_gate import Gate


class Allowed(NamedTuple):
    """How far the scrub goes on.

    Attributes:
        up_to: Up to this seq.
        is_read: Whether what lies there may be read; else it is passed over.
    """

    up_to: int
    is_read: bool = True


class ScrubCare:
    """Says how far the scrub may read, one group of suspects at a time."""

    def __init__(self, in_hand: InHand, gate: Gate, reader: OutboxReader, trial: Trial, refusals: Refusals) -> None:
        self._unsettled = in_hand.unsettled
        self._gate = gate
        self._reader = reader
        self._trial = trial
        self._refusals = refusals
        # How long the group may still take, and when that was looked at last: by the monotonic clock, and whether
        # events could be sent then.
        self._left_s = 0.0
        self._looked_at = 0.0
        self._was_open = False
        # Why dead letters could not be written, so that each reason is logged once.
        self._reported: set[str] = set()

    async def may_go_on(self) -> bool:
        """Report whether a group may be let out: events can be sent, and the group before was outlived.

        It was if none of it is in memory, or events could be sent for 5 seconds. Its attempts are put back then.
        """
        now, is_open = time.monotonic(), self._gate.is_open
        if self._trial.seqs:
            if is_open and self._was_open:
                self._left_s -= now - self._looked_at
            self._looked_at, self._was_open = now, is_open
            if self._left_s > 0 and not self._unsettled.in_memory.keys().isdisjoint(self._trial.seqs):
                return False
            await self._trial.outlived()
        # Waiting for the broker proves nothing.
        return is_open

    async def look(self, above: int, up_to: int, limit: int, is_suspect: Callable[[Event], bool]) -> Allowed:
        """Look at what the scrub would read, without payload and headers; return how far it goes on.

        Args:
            above: It reads above this seq,
            up_to: and up to this one.
            limit: How many rows are looked at.
            is_suspect: Tells whether an event, given without payload and headers, would be sent.

        Raises:
            LeaseLost: A dead letter could not be written.
        """
        found = await self._reader.suspects(above, up_to, limit)
        suspects = [one for one in found if is_suspect(one.event)]
        group = [one.event for one in suspects[: next_group([one.event.attempts for one in suspects])]]
        if not group:
            return Allowed(found[-1].event.seq if found else up_to)
        # One more than `max_attempts`: a dead letter that SQL made pending has as many, and may have ended no relay.
        if self._refusals.is_crasher(group[0].attempts - 1):
            await self._bury(group[0], suspects[0].version)
            return Allowed(group[0].seq, is_read=False)
        await self._trial.begin(group)
        self._left_s, self._looked_at, self._was_open = PATIENCE_S, time.monotonic(), self._gate.is_open
        return Allowed(group[-1].seq)

    def is_waited_for(self) -> bool:
        """Report whether a group is let out, and not yet known to be outlived."""
        return bool(self._trial.seqs)

    def cleared(self, event: Event) -> Event:
        """Return an event with the attempts that are its own: crashes are no refusals."""
        return self._trial.cleared(event)

    async def _bury(self, event: Event, version: str) -> None:
        """Make a dead letter of an event that crashes the relay; if that cannot be done now, the next pass does it."""
        try:
            if not await self._refusals.bury_crasher(event, version, why_given_up(event.attempts)):
                await self._trial.was_another(event)
        except Unfinished:
            pass
        except StatementRefused as refusal:
            if str(refusal) not in self._reported:
                self._reported.add(str(refusal))
                log_refused_row(event, str(refusal))
