"""One stay at the stream: read on from the stored position, apply, and end at the first thing that is wrong.

Whatever fails ends the stay: the runner begins another one, from what is stored. So a commit whose answer was lost
needs no rule of its own, and nothing in memory outlives what it was read from.
"""

import logging
import time
from collections.abc import Sequence

from relay.jetstream.connection import Connection
from relay.jetstream.consumer import ConsumerLost, StreamConsumer, StreamMessage, open_consumer
from relay.jetstream.stream_look import StreamLook, look_at, time_at
from relay.observe.logs import event as log_event
from relay.observe.projection_progress import PartitionProgress
from relay.observe.retention_margin import Kept
from relay.projection.definition import Definition
from relay.projection.outcome import Stopped
from relay.projection.ports import Effects, Ledger
from relay.projection.reading import read_all
from relay.projection.rules.columns import columns_of
from relay.projection.rules.stream_identity import EXPIRES, Finding, Known, Seen, gap_reason, judge, jump_is_proved
from relay.projection.settler import Settler
from relay.projection.watermark_watch import WatermarkWatch

log = logging.getLogger(__name__)

_BATCH_BYTES = 1024 * 1024
_BEAT_S = 1.0
_LOOK_S = 5.0
_NANOSECONDS = 1_000_000_000


class Term:
    """A stay at the stream.

    Args:
        settler: Made by `begin_term`, of the same connection.
        watch: Runs beside it.
        progress: Is told how far the partition is behind.
    """

    def __init__(
        self,
        definition: Definition,
        connection: Connection,
        settler: Settler,
        watch: WatermarkWatch,
        progress: PartitionProgress,
    ) -> None:
        self._definition = definition
        self._connection = connection
        self._settler = settler
        self._watch = watch
        self._progress = progress
        self._behind_looks = 0

    async def run(self) -> None:
        """Read and apply, for ever.

        Raises:
            Fenced: The partition is ours no more.
            Stopped: The projection must not go on by itself.
            BrokerError: The stream or the way to it failed.
            Exception: psycopg.Error or OSError: the store or the way to it failed.
        """
        await self._settler.begin()
        definition = self._definition
        consumer = await open_consumer(
            self._connection, definition.stream, self._settler.name, self._settler.position + 1, definition.subjects
        )
        beat_at = look_at_s = time.monotonic()
        while True:
            messages = await consumer.batch(self._settler.limit, _BATCH_BYTES, _BEAT_S)
            if messages:
                await self._take(messages)
            self._tell_behind(consumer)
            await self._settler.passed(len(messages))
            now = time.monotonic()
            if now - beat_at >= _BEAT_S:
                beat_at = now
                await self._settler.beat()
            if now - look_at_s >= _LOOK_S or (not messages and self._watch.waits):
                look_at_s = now
                look = await self._look()
                self._progress.keeps(self._kept(look))
                if not messages:
                    await self._look_while_idle(consumer, look)
            mark = self._watch.reached(self._settler.position)
            if mark is not None:
                await self._settler.complete(mark)

    async def _take(self, messages: Sequence[StreamMessage]) -> None:
        """Apply messages, up to the first one that a gap may lie before."""
        gap = await self._unproved_jump(messages)
        proved = messages if gap is None else messages[: gap[0]]
        if proved:
            await self._settle(proved)
        if gap is not None:
            first_seq = min(gap[1], messages[gap[0]].stream_seq)
            raise Stopped(gap_reason(self._settler.position, first_seq), first_seq - 1)

    async def _settle(self, messages: Sequence[StreamMessage]) -> None:
        columns = columns_of(messages)
        if columns is not None:
            self._progress.taking(columns.created[0])
            if await self._settler.settle_alike(messages, columns):
                return
        events = read_all(messages)
        self._progress.taking(events[0].created or events[0].time_ns / _NANOSECONDS)
        await self._settler.settle(events)

    async def _unproved_jump(self, messages: Sequence[StreamMessage]) -> tuple[int, int] | None:
        """Return the index of the first message that a gap may lie before, and the first sequence of the stream."""
        position = self._settler.position
        if messages[-1].stream_seq - position == len(messages):
            return None  # sequences rise, so each is there
        jumps: list[tuple[int, int]] = []
        for index, message in enumerate(messages):
            if message.stream_seq != position + 1:
                jumps.append((index, position))
            position = message.stream_seq
        if not jumps:
            return None
        look = await self._look()
        for index, before in jumps:
            if not jump_is_proved(before, messages[index].stream_seq, _seen(look)):
                return index, look.first_seq
        return None

    def _tell_behind(self, consumer: StreamConsumer) -> None:
        """Report how many messages come behind the position; the oldest is no older than the last one before."""
        time_ns = consumer.next_time_ns or self._settler.time_ns
        self._progress.behind(consumer.behind, None if time_ns is None else time_ns / _NANOSECONDS)

    async def _look(self) -> StreamLook:
        look = await look_at(self._connection, self._definition.stream)
        if look.created != self._settler.created:
            raise ConsumerLost("the stream was made new")
        return look

    def _kept(self, look: StreamLook) -> Kept:
        """Return what the stream keeps, as seen from the position."""
        at, first = self._settler.time_ns, look.first_time_ns
        before_s = None
        if look.drops_by_size and at is not None and first is not None:
            before_s = (at - first) / _NANOSECONDS
        return Kept(time.time(), look.max_age_s, before_s)

    async def _look_while_idle(self, consumer: StreamConsumer, look: StreamLook) -> None:
        """Move over what is not ours, and notice messages that were lost on the way to us."""
        state = await consumer.state()
        if state.delivered != consumer.received:
            # One look may meet a message on its way.
            self._behind_looks += 1
            if self._behind_looks > 1:
                raise ConsumerLost(f"the server has sent {state.delivered} messages, and {consumer.received} came")
            return
        self._behind_looks = 0
        if state.pending or consumer.waiting or look.last_seq <= self._settler.position:
            return
        if look.first_seq > self._settler.position + 1:
            raise Stopped(gap_reason(self._settler.position, look.first_seq), look.first_seq - 1)
        await self._settler.pass_over(look.last_seq, look.last_time_ns)


def _seen(look: StreamLook, time_ns: int | None = None) -> Seen:
    return Seen(look.created, look.first_seq, look.last_seq, look.by_limits, time_ns, look.thins, look.first_time_ns)


async def begin_term(
    definition: Definition,
    progress: PartitionProgress,
    ledger: Ledger,
    effects: Effects,
    connection: Connection,
    epoch: int,
    watermark: str = "",
) -> Settler:
    """Compare the stream with what is written down of it; return what settles its messages, if that may be.

    Raises:
        Fenced: The partition is ours no more.
        Stopped: The stream is not one that may be read on; the reason says why.
        BrokerError: The stream or the way to it failed.
        Exception: psycopg.Error or OSError: the store or the way to it failed.
    """
    claim = await ledger.load(epoch)
    look = await look_at(connection, definition.stream)
    in_reach = 0 < claim.position <= look.last_seq
    time_ns = await time_at(connection, definition.stream, claim.position) if in_reach else None
    known = Known(claim.position, claim.time_ns, claim.created, claim.has_bits, definition.partial)
    verdict = judge(known, _seen(look, time_ns))
    if look.expires and not definition.partial:
        log_event(
            log,
            "warning",
            "projection.may_miss",
            EXPIRES,
            projection=definition.name,
            partition=progress.partition,
            stream=definition.stream,
        )
    if verdict.reason is not None:
        raise Stopped(verdict.reason, verdict.gap_last)
    if verdict.finding is Finding.SET_BACK:
        log_event(
            log,
            "warning",
            "projection.set_back",
            "the stream was set back or made new; it is read again, and what was settled is passed over",
            projection=definition.name,
            partition=progress.partition,
            position=claim.position,
            read_from=verdict.position + 1,
        )
    if verdict.finding is Finding.BEGIN and verdict.position > 0:
        await ledger.accept_gap(1, verdict.position)
        log_event(
            log,
            "warning",
            "projection.partial",
            "the stream no longer holds its first messages, and partial = true accepts that: their events are missing",
            projection=definition.name,
            partition=progress.partition,
            gap_last=verdict.position,
        )
    kept = verdict.finding is Finding.SAME
    if (claim.position, claim.created) != (verdict.position, look.created) or not kept:
        time_ns = claim.time_ns if kept else None
        await ledger.follow_stream(claim, look.created, verdict.position, time_ns)
        claim = claim._replace(position=verdict.position, time_ns=time_ns)
    return Settler(definition, progress, ledger, effects, claim, look.created, watermark)
