"""Start carefully after relays that crashed; `relay.rules.failure.crash_suspects` has the rules."""

import asyncio
import logging
import time
from contextlib import suppress

from relay.delivery.marker import log_refused_row
from relay.delivery.refusals import Refusals
from relay.delivery.trial import PATIENCE_S, TICK_S, Trial
from relay.errors import StatementRefused
from relay.event import Event
from relay.observe.logs import event as log_event
from relay.postgres.database import Unfinished
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.shard_leases import Ownership
from relay.rules.failure.crash_suspects import TOLERATED_CRASHES, next_group, why_given_up
from relay.rules.in_hand import InHand
from relay.rules.sending.send_gate import Gate

log = logging.getLogger(__name__)

# A dead letter that must be written first is tried again after this, seconds.
_WRITE_PAUSE_S = 1.0


class AfterCrash:
    """Limits how far may be read, until every event that the crashed relay may have held is settled."""

    def __init__(
        self,
        ownership: Ownership,
        in_hand: InHand,
        gate: Gate,
        reader: OutboxReader,
        trial: Trial,
        refusals: Refusals,
    ) -> None:
        self._ownership = ownership
        self._in_hand = in_hand
        self._gate = gate
        self._reader = reader
        self._trial = trial
        self._refusals = refusals
        # The relay that crashed held at most this many events.
        self._left = in_hand.limits.events + in_hand.limits.waiting

    async def next_group(self, above: int, up_to: int) -> int | None:
        """Return the seq up to which may be read, from `above` on; None if no suspect is left up to `up_to`.

        Raises:
            LeaseLost: A dead letter could not be written.
        """
        # Waiting for the broker proves nothing.
        while not self._gate.is_open:
            self._in_hand.room.clear()
            await self._in_hand.room.wait()
        crashes = self._ownership.crashes
        while self._left > 0:
            if crashes <= TOLERATED_CRASHES:
                held = await self._reader.outlines(above, up_to, self._left)
                self._left = 0
                return held[-1].seq if held else None
            suspects = await self._reader.suspects(above, up_to, min(1000, self._left))
            group = [one.event for one in suspects[: next_group([one.event.attempts for one in suspects])]]
            if not group:
                return None
            self._left -= len(group)
            if not self._refusals.is_crasher(group[0].attempts):
                await self._trial.begin(group)
                return group[-1].seq
            if not await self._bury(group[0], suspects[0].version):
                await self._trial.was_another(group[0])
        return None

    async def _bury(self, event: Event, version: str) -> bool:
        """Make a dead letter of an event that crashes the relay; return whether its row was still what was read.

        While its row is locked, or the database refuses to change it, nothing is sent: the next read would bring the
        event itself.
        """
        reported = ""
        while True:
            try:
                return await self._refusals.bury_crasher(event, version, why_given_up(event.attempts))
            except Unfinished:
                pass
            except StatementRefused as refusal:
                if str(refusal) != reported:
                    reported = str(refusal)
                    log_refused_row(event, reported)
            await asyncio.sleep(_WRITE_PAUSE_S)

    def cleared(self, event: Event) -> Event:
        """Return an event with the attempts that are its own: crashes are no refusals."""
        return self._trial.cleared(event)

    async def survived(self) -> None:
        """Wait at most 5 seconds until the group is settled; in either case it did not crash the relay.

        Only time in which events may be sent counts: while one connection after another ends, nothing is proved.
        """
        left_s = PATIENCE_S
        while self._in_hand.can_flow() and left_s > 0:
            began, was_open = time.monotonic(), self._gate.is_open
            self._in_hand.room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._in_hand.room.wait()
            if was_open and self._gate.is_open:
                left_s -= time.monotonic() - began
        await self._trial.outlived()

    async def end(self) -> None:
        """Forget the relays that crashed."""
        log_event(log, "info", "start.survived", "survived the events that the crashed relay was holding")
        await self._ownership.reset_crashes()
