"""Detect what streams have lost of what they had acknowledged, and redeliver it.

Each stream is compared with our highest mark in it: over each new connection, when an outage is over or
acknowledgements go back in sequence (`relay.rules.stream.set_back_suspects`), and from time to time
(`relay.rules.stream.stream_loss`). It is compared with the mark of the last look as well: what it was sent since may
lie above all that it has lost. What another stream of the same name holds proves nothing. A repair that did not help is
not repeated: the same loss, proved a second time, waits for the operator.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relay.errors import StreamHealed
from relay.integrity.delivered_events import DeliveredEvents
from relay.integrity.pending_subjects import PendingSubjects
from relay.integrity.watched import Watched, WatchedStreams
from relay.jetstream.connection import Connection
from relay.jetstream.stream_reader import StreamReader
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.rules.in_hand import InHand
from relay.rules.sending.send_gate import Gate
from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.stream_loss import Seen, contradicts, is_copy, is_same, may_repair, suspicious
from relay.rules.stream.streams import StreamState

if TYPE_CHECKING:
    from relay.config.sections import HealingSection

log = logging.getLogger(__name__)

_TIMEOUT_S = 2.0
# Times are compared as Unix seconds, which are exact to the microsecond.
_BEFORE_S = 0.001
# What a comparison has found is saved again after this if the database refuses it, seconds.
_SAVE_PAUSE_S = 1.0
_QUIET_TICK_S = 0.05
_QUIET_TICKS = 100
_GONE = (
    "the stream that has acknowledged events does not exist any more; if another stream takes their subjects now,"
    " `relay verify --redeliver` sends it what the previous one held"
)
_THINS = "; it removes messages from between others as well, and what it had removed cannot be told from what was lost"
_UNHEALED = (
    "events that were sent again because the stream had lost them are missing from it again; they are not sent a third"
    " time: `relay verify --redeliver` would do so"
)
_HEALED = "every event that the stream had lost was sent again, and is stored or a dead letter now"


@dataclass(frozen=True)
class Look:
    """What one look at a stream has found.

    Attributes:
        reader: The stream as it is; None if there is none of that name.
        mark: Our highest mark when the look began; or the earliest event that it does not hold where it should.
        highest: The highest sequence that it had acknowledged of those that it was compared with.
        witnesses: Its witnesses when the look began.
        id_at_mark: The message id there, as for `suspicious`.
        same: It is the stream that has acknowledged our events.
    """

    reader: StreamReader | None
    mark: Mark
    highest: int = 0
    witnesses: tuple[Mark, ...] = ()
    id_at_mark: str | None = None
    same: bool = True


class LossWatch:
    """Compares streams with the marks in the outbox."""

    def __init__(
        self,
        section: "HealingSection",
        in_hand: InHand,
        gate: Gate,
        streams: WatchedStreams,
        delivered: DeliveredEvents,
        pending: PendingSubjects,
        metrics: Metrics,
    ) -> None:
        self._section = section
        self._in_hand = in_hand
        self._gate = gate
        self._streams = streams
        self._delivered = delivered
        self._pending = pending
        self._metrics = metrics

    def due(self, watched: Watched, connection: Connection, now: float) -> bool:
        """Report whether a stream is to be looked at now (monotonic seconds)."""
        mark = self._in_hand.floors.marks[watched.name]
        if watched.looked_over is not connection or now >= watched.look_at:
            return True
        # That a repair has helped is seen as soon as anything was stored after it: the next loss is another one then.
        repaired = watched.seen.repaired_at > 0 and mark != watched.looked_mark
        return not watched.denied and (repaired or watched.name in self._in_hand.set_backs.wanted)

    async def look(self, connection: Connection, watched: Watched) -> Look:
        """Ask a stream what it holds, and what lies at our highest mark.

        Raises:
            BrokerError: It did not answer, or we have no right to ask.
        """
        # Taken before the stream is asked: what is marked while it answers may lie above the end that it names.
        mark = self._in_hand.floors.marks[watched.name]
        witnesses = self._in_hand.set_backs.witnesses(watched.name)
        state = await connection.stream_state(watched.name, _TIMEOUT_S)
        if state is None:
            return Look(None, mark, witnesses=witnesses)
        reader = StreamReader(connection, state)
        highest, id_at_mark = mark.stream_seq, None
        if not watched.seen.lost:
            earlier = [
                one for one in dict.fromkeys((*watched.seen.looked, *witnesses)) if one.stream_seq and one != mark
            ]
            mark, id_at_mark, highest = await _first_missing(reader, [*earlier, mark])
        seen = replace(watched.seen, mark=mark)
        same = mark.stream_seq == 0 or is_same(seen, state, id_at_mark, None)
        if not same:
            subject = await self._delivered.subject_of(watched.name, mark, self._in_hand.newest)
            # If no row says any more what it took, what is still to go there, or is in doubt, does.
            subjects = {subject} if subject is not None else await self._pending.all_known()
            same = any(is_same(seen, state, id_at_mark, one) for one in subjects)
        if same:
            self._in_hand.streams.learn(state.facts, now=time.monotonic())
            if watched.saved is not None:
                self._in_hand.streams.begun.wrote(watched.name, state.facts.subjects)
        return Look(reader, mark, highest, witnesses, id_at_mark, same)

    async def act(self, watched: Watched, look: Look) -> None:
        """Take up what a look has found, and act on a loss.

        Raises:
            StreamHealed: Lost events are pending again.
            BrokerError: The stream could not be read to the end. The gate stays shut for it until another look.
        """
        if look.reader is None:
            await self._note_absence(watched, look.mark)
            return
        watched.is_there()
        if not look.same:
            return
        state = look.reader.state
        watched.repair_begins(self._in_hand.newest)
        seen = replace(watched.seen, mark=look.mark)
        is_suspect = suspicious(seen, state, look.id_at_mark) or await self._delivered.made_again(
            seen, state, look.id_at_mark
        )
        if not seen.lost and is_suspect:
            await self._suspect(watched, look.reader, look)
            return
        repaired_at = 0.0 if await self._delivered.repair_shows(seen, look.id_at_mark) else seen.repaired_at
        watched.intact(state, look.mark, repaired_at)
        self._gate.release(_comparing(watched))

    async def _note_absence(self, watched: Watched, mark: Mark) -> None:
        """Report that a stream is gone which has acknowledged events of ours that the outbox still has."""
        if watched.is_absent(gone=await self._delivered.holds_mark(watched.name, mark)):
            log_event(log, "error", "stream.gone", _GONE, stream=watched.name, acknowledged_up_to=mark.stream_seq)

    async def _suspect(self, watched: Watched, reader: StreamReader, look: Look) -> None:
        """Find out what a stream has lost. Nothing is sent meanwhile: what was lost goes before what follows it."""
        self._gate.shut(_comparing(watched))
        await self._quiet()
        state_now = await reader.connection.stream_state(watched.name, _TIMEOUT_S)
        reader = StreamReader(reader.connection, state_now or reader.state)
        now = await self._delivered.now()
        seen, state, mark = watched.seen, reader.state.by_clock(now), look.mark
        redeliver = self._section.on_loss == "redeliver"
        healing = self._delivered.healing(reader, seen, mark)
        in_vain = False
        if redeliver and seen.repaired_at:
            in_vain = not may_repair(seen, state, (await healing.run(redeliver=False)).newest_at)
        redeliver = redeliver and not in_vain
        loss = await healing.run(redeliver=redeliver)
        lost = loss.events
        # Whatever it loses next is seen by that, also if nothing is sent to it until then.
        intact = loss.highest_intact
        self._in_hand.floors.start(watched.name, healing.intact_up_to, intact)
        self._in_hand.set_backs.forget(watched.name)
        same = seen.created in (None, state.created) or is_copy(state, loss.oldest_intact_at)
        left_open = bool(lost) and not redeliver
        # What this stream holds belongs to it, and what was delivered before that went to an earlier one.
        began_at = min(now, loss.oldest_intact_at - _BEFORE_S)
        found = replace(
            seen,
            created=state.created,
            first_seq=state.first_seq,
            floor=healing.intact_up_to,
            mark=intact,
            lost=left_open,
            # A loss that is left to the operator keeps begun_at, so that `relay verify` still finds it.
            begun_at=seen.begun_at if same or left_open else max(seen.begun_at, began_at),
            repaired_at=now if lost and redeliver else seen.repaired_at,
            looked=(intact,),
        )
        watched.compared(found)
        await self._save(watched, found)
        if lost:
            if in_vain:
                log_event(log, "error", "stream.unhealed", _UNHEALED, stream=watched.name, events=lost)
            else:
                self._report(found, lost, look.highest, state, redeliver=redeliver, recreated=not same)
            if redeliver:
                self._metrics.redelivered(lost)
                raise StreamHealed(f"{lost} events that stream {watched.name} has lost are pending again")
        self._gate.release(_comparing(watched))
        self._in_hand.may_flow()

    async def _save(self, watched: Watched, found: Seen) -> None:
        """Save what a comparison has found, before anything is sent: a later term would take the loss for a new one."""
        await self._streams.save_one(watched, found)
        while self._streams.is_refused(watched.name):
            await asyncio.sleep(_SAVE_PAUSE_S)
            await self._streams.save_one(watched, found)

    def _report(
        self, seen: Seen, lost: int, highest: int, state: StreamState, *, redeliver: bool, recreated: bool
    ) -> None:
        log_event(
            log,
            "error",
            "stream.lost",
            "the stream has lost events that it had acknowledged; "
            + ("they are sent again" if redeliver else "see `relay verify`, which can send them again")
            + (_THINS if state.thins else ""),
            stream=seen.stream,
            events=lost,
            last_seq=state.last_seq,
            acknowledged_up_to=highest,
            recreated=recreated,
        )

    async def _quiet(self) -> None:
        """Wait until what was sent is marked, or an acknowledgement takes too long."""
        doubts = self._in_hand.in_doubt
        for _ in range(_QUIET_TICKS):
            if not self._in_hand.sent_unmarked() - doubts.since.keys() - doubts.found.keys():
                return
            await asyncio.sleep(_QUIET_TICK_S)

    def report_repairs(self) -> None:
        """Report which repairs are done."""
        watermark = self._in_hand.watermark()
        for watched in self._streams:
            if watched.repair_ends(watermark):
                log_event(log, "info", "stream.healed", _HEALED, stream=watched.name, up_to_seq=watermark)

    def report_open(self) -> None:
        """Report how many streams have a loss that waits for the operator."""
        self._metrics.losses_open(self._streams.lost())

    def next_look_at(self) -> float:
        """Return when a stream that was looked at now is due again, monotonic seconds."""
        return time.monotonic() + self._section.check_every_s


def _comparing(watched: Watched) -> str:
    """Return the reason for which the gate is shut while a stream is compared."""
    return f"stream {watched.name} is compared"


async def _first_missing(reader: StreamReader, marks: Sequence[Mark]) -> tuple[Mark, str | None, int]:
    """Ask a stream for the events at some marks, the last of which is the highest in the outbox.

    Returns:
        The first mark whose event it does not hold there although it should, else the last one; the message id there,
        as for `suspicious`; and the highest sequence of those that it does not hold, else of the last one.

    Raises:
        BrokerError: It did not answer, or we have no right to ask.
    """
    state, ids = reader.state, []
    for mark in marks:
        # An empty stream begins and ends at 0, which no message has.
        is_within = max(1, state.first_seq) <= mark.stream_seq <= state.last_seq
        found = await reader.at(mark.stream_seq) if is_within else None
        ids.append(None if found is None else found.message_id or "")
    missing = [at for at, mark in enumerate(marks) if contradicts(mark, state, ids[at])] or [len(marks) - 1]
    return marks[missing[0]], ids[missing[0]], max(marks[at].stream_seq for at in missing)
