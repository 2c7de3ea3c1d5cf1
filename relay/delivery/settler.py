"""Settle: write down what became of each event, in batches, beside the publishing of the next ones."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence

from relay.errors import LeaseLost
from relay.event import Event
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.outcomes import Buried, Delivered, Noted, Postponed
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.floors import Mark
from relay.rules.in_hand import InHand

log = logging.getLogger(__name__)

# Some 20 ms of one statement. The more of the events in hand it marks, the fewer pages are met again by the next.
_MOST = 4000
# A smaller batch waits this long for company, seconds: a mark is on nobody's way, and each one is a commit.
_LINGER_S = 0.01
_ENOUGH = 3000
# Each of the other outcomes is a statement of its own: so many at most keep the marks waiting, some 20 ms.
_OTHERS_A_TURN = 50


class Settler:
    """Marks delivered events, and writes the other outcomes in the order in which they were taken.

    Attributes:
        last_settled: When something was written last, monotonic seconds.
    """

    def __init__(self, in_hand: InHand, writer: OutboxWriter, metrics: Metrics) -> None:
        self._in_hand = in_hand
        self._writer = writer
        self._metrics = metrics
        self._others: deque[Postponed | Buried | Noted] = deque()
        self._work = asyncio.Event()
        self._busy = False
        self._resting = True
        self._idle = asyncio.Event()
        self.last_settled = time.monotonic()

    def take_delivered(self, delivered: Sequence[Delivered]) -> None:
        """Take acknowledged events, to be marked."""
        self._in_hand.acknowledged(delivered)
        if self._resting:
            self._work.set()

    def take(self, outcome: Postponed | Buried | Noted) -> None:
        """Take any other outcome."""
        self._others.append(outcome)
        self._work.set()

    async def drained(self) -> None:
        """Wait until everything that was taken is written."""
        while self._in_hand.to_mark() or self._others or self._busy:
            self._idle.clear()
            await self._idle.wait()

    async def run(self) -> None:
        """Write for ever.

        Raises:
            LeaseLost: Other relays own some of the shards; what could not be written stays as it is.
        """
        while True:
            self._resting = True
            await self._work.wait()
            self._work.clear()
            self._resting = False
            self._busy = True
            while self._others or self._in_hand.to_mark():
                for _ in range(min(_OTHERS_A_TURN, len(self._others))):
                    await self.write(self._others.popleft())
                if waiting := self._in_hand.to_mark():
                    if waiting < _ENOUGH and not self._others:
                        await asyncio.sleep(_LINGER_S)
                    await self._mark()
            self._busy = False
            self._idle.set()

    async def _mark(self) -> None:
        batch = self._in_hand.begin_marking(_MOST)
        started = time.monotonic()
        streams = dict.fromkeys([one[1] for one in batch])
        for stream in streams:
            part = batch if len(streams) == 1 else [one for one in batch if one[1] == stream]
            marked = await self._writer.settle(stream, part)
            if marked != len(part):
                await self._must_be_settled([one[0] for one in part])
                log_event(
                    log,
                    "warning",
                    "settle.fewer",
                    "fewer events were marked than were acknowledged",
                    stream=stream,
                    acknowledged=len(part),
                    marked=marked,
                )
            self._note_marks(stream, part)
        self._metrics.stage("settle", time.monotonic() - started)
        self._metrics.delivered(
            [acked_at - event.created_at for event, _, _, _, acked_at in batch], sum([one[3] for one in batch])
        )
        self._in_hand.marked()
        self._wrote()

    async def _must_be_settled(self, events: Sequence[Event]) -> None:
        """Find out why a write changed too little: somebody else was first, or the fence kept us out.

        Nothing may be called settled that the outbox does not call so: the watermark would pass it, also that of the
        shards that are still ours.

        Raises:
            LeaseLost: Some of the events are pending yet.
            DatabaseChanged: Some of their seqs belong to other events now.
        """
        left = await self._writer.still_pending(events)
        if left:
            lowest = min(event.seq for event in events)
            raise LeaseLost(f"{left} events could not be settled, from seq {lowest} on: another relay owns shards")

    def _note_marks(self, stream: str, batch: list[Delivered]) -> None:
        stream_seqs = [one[2] for one in batch]
        highest = max(stream_seqs)
        event = batch[stream_seqs.index(highest)][0]
        duplicate = any(one[3] for one in batch)
        self._in_hand.floors.marked(stream, min(stream_seqs), Mark(highest, event.id), duplicate=duplicate)

    async def write(self, outcome: Postponed | Buried | Noted) -> None:
        """Write one outcome now.

        Raises:
            LeaseLost: A dead letter could not be written: another relay owns shards. The event stays pending.
        """
        match outcome:
            case Postponed():
                await self._writer.postpone(outcome)
            case Buried(event=event):
                if not await self._writer.bury(outcome):
                    await self._must_be_settled([event])
                self._in_hand.unsettled.forget([event])
                self._metrics.dead(outcome.reason)
            case Noted():
                await self._writer.note(outcome)
        self._wrote()

    def _wrote(self) -> None:
        self.last_settled = time.monotonic()
        self._in_hand.room.set()
