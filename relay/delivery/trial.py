"""Events that may end the relay are counted before they are let out; `relay.rules.failure.crash_suspects` has why."""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

from relay.delivery.refusals import Refusals
from relay.errors import StatementRefused
from relay.event import Event
from relay.observe.logs import event as log_event
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.failure.crash_suspects import goes_alone, own_attempts
from relay.rules.in_hand import InHand

log = logging.getLogger(__name__)

# A group that is not settled after this long waits for something that no crash explains, seconds.
PATIENCE_S = 5.0
# So often it is looked whether a group is settled, seconds.
TICK_S = 0.25


class Trial:
    """A group of suspects that is let out: its attempts are raised before, and put back when it was outlived."""

    def __init__(self, in_hand: InHand, writer: OutboxWriter, refusals: Refusals) -> None:
        self._unsettled = in_hand.unsettled
        self._writer = writer
        self._refusals = refusals
        # By seq; attempts include this time.
        self._group: dict[int, Event] = {}
        # Why the database refused to change the rows of suspects, so that each reason is logged once.
        self._reported: set[str] = set()

    @property
    def seqs(self) -> Collection[int]:
        """The seqs of the group whose attempts are raised."""
        return self._group.keys()

    async def begin(self, group: Sequence[Event]) -> None:
        """Raise the attempts of a group, given by its outlines: it is read next."""
        # What still waits for its retry is not sent now.
        self._group = {event.seq: event._replace(attempts=event.attempts + 1) for event in group if not event.postponed}
        if self._group:
            await self._count(self._writer.raise_attempts, list(self._group.values()))
        if goes_alone(group[0].attempts):
            self._refusals.warn_isolated(group[0])

    def cleared(self, event: Event) -> Event:
        """Return an event of the group with the attempts that are its own: crashes are no refusals."""
        return event._replace(attempts=self._own(event)) if event.seq in self._group else event

    async def outlived(self) -> None:
        """Put back the attempts of the group: it did not crash the relay."""
        await self._count(self._writer.lower_attempts, [one for one in self._group.values() if not self._refused(one)])
        self._group = {}

    async def was_another(self, suspect: Event) -> None:
        """Hold one crash less against a suspect: its row has changed, so what was counted was another form of it."""
        await self._count(self._writer.lower_attempts, [suspect])

    def _own(self, event: Event) -> int:
        return own_attempts(event.attempts, refused=event.postponed is not None)

    def _refused(self, suspect: Event) -> bool:
        """Report whether an event of the group was refused since: its row has its own attempts then, or will have."""
        if suspect.seq in self._unsettled.postponed:
            return True
        now = self._unsettled.in_memory.get(suspect.seq)
        return now is not None and now.attempts > self._own(suspect)

    async def _count(self, write: Callable[[Sequence[Event]], Awaitable[None]], events: Sequence[Event]) -> None:
        """Write the attempts of suspects; a row that the database refuses to change keeps those that it has."""
        if not events:
            return
        try:
            await write(events)
        except StatementRefused as error:
            if len(events) > 1:
                middle = len(events) // 2
                await self._count(write, events[:middle])
                await self._count(write, events[middle:])
            elif str(error) not in self._reported:
                self._reported.add(str(error))
                log_event(
                    log,
                    "error",
                    "start.uncounted",
                    "PostgreSQL refuses to change the row of an event; crashes are not counted in it",
                    event_id=events[0].id,
                    seq=events[0].seq,
                    reason=str(error),
                )
