"""Which streams hold what they have acknowledged, as a look of this moment says: only their rows may be deleted."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.jetstream.mark_look import look_at_mark
from relay.observe.logs import event as log_event
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.set_backs import SetBacks
from relay.rules.still_stored import keeps_rows
from relay.rules.stream_floors import Floors
from relay.rules.stream_loss import Seen

log = logging.getLogger(__name__)

_TIMEOUT_S = 2.0
# What a stream loses later than this before its rows are deleted is not noticed in time, seconds.
_FRESH_S = 1.0
# A stream whose rows have to stay is looked at again after this time, seconds.
_AGAIN_S = 10.0
# A stream may have this many places in the log; further ones are kept in silence.
_TOLD = 100


class StreamKeeper:
    """Looks at streams before rows of theirs are deleted, and keeps the rows of those of which that is not seen.

    Args:
        reader: Says what the relays last saw of each stream.
        floors: What this relay knows since then.
        set_backs: Which streams may have lost something since.
    """

    def __init__(self, reader: OutboxReader, floors: Floors, set_backs: SetBacks) -> None:
        self._reader = reader
        self._floors = floors
        self._set_backs = set_backs
        # When the last look that found nothing wrong began, monotonic seconds.
        self._sound_at: dict[str, float] = {}
        # When a stream that keeps its rows was looked at, monotonic seconds.
        self._kept_at: dict[str, float] = {}
        self._told: set[str] = set()

    def sound(self) -> list[str]:
        """Return the streams that were seen just now to hold what they have acknowledged."""
        oldest = time.monotonic() - _FRESH_S
        self._sound_at = {stream: at for stream, at in self._sound_at.items() if at >= oldest}
        return [stream for stream in self._sound_at if not self._set_backs.witnesses(stream)]

    async def look(self, connection: Connection, streams: Iterable[str]) -> bool:
        """Look at streams that have old rows; report whether rows of any of them may be deleted now.

        Raises:
            Unfinished: PostgreSQL did not say in time what was seen of them before.
            BrokerError: The connection has ended.
        """
        oldest = time.monotonic() - _AGAIN_S
        due = [stream for stream in streams if self._kept_at.get(stream, oldest) <= oldest]
        return bool(due) and bool(await self._look(connection, due))

    async def look_again(self, connection: Connection) -> bool:
        """Look at the streams whose rows had to stay; report whether those of any may be deleted now.

        Raises:
            Unfinished: As `look`.
        """
        return await self.look(connection, list(self._kept_at))

    def forget(self) -> None:
        """Forget which streams keep rows: they may have none any more."""
        self._kept_at.clear()

    async def _look(self, connection: Connection, streams: Sequence[str]) -> list[str]:
        seen = {one.stream: one for one in await self._reader.streams_seen_by_all()}
        began = time.monotonic()
        marked = [self._with_newest_mark(seen.get(stream, Seen(stream))) for stream in streams]
        reasons = await asyncio.gather(*(_reason_to_keep(connection, one) for one in marked))
        if not connection.up:
            raise BrokerError("the connection has ended")
        sound = []
        for stream, reason in zip(streams, reasons, strict=True):
            if reason is None:
                sound.append(stream)
                self._sound_at[stream] = began
                self._kept_at.pop(stream, None)
                self._is_sound(stream)
            else:
                self._sound_at.pop(stream, None)
                self._kept_at[stream] = began
                self._is_kept(stream, reason)
        return sound

    def _with_newest_mark(self, seen: Seen) -> Seen:
        """Return what was seen of a stream with the mark of this relay, if that is higher than what was saved."""
        mark = self._floors.marks.get(seen.stream, seen.mark)
        return replace(seen, mark=mark) if mark.stream_seq > seen.mark.stream_seq else seen

    def _is_kept(self, stream: str, reason: str) -> None:
        if stream not in self._told and len(self._told) < _TOLD:
            self._told.add(stream)
            log_event(
                log,
                "warning",
                "retention.kept",
                "old rows of the stream stay in the table until it is seen to hold what it has acknowledged;"
                " `relay prune --accept-loss` deletes them all the same",
                stream=stream,
                reason=reason,
            )

    def _is_sound(self, stream: str) -> None:
        if stream in self._told:
            self._told.discard(stream)
            log_event(log, "info", "retention.resumed", "old rows of the stream are deleted again", stream=stream)


async def _reason_to_keep(connection: Connection, seen: Seen) -> str | None:
    """Look at a stream; return why its rows must stay, None if the old ones may be deleted."""
    try:
        return keeps_rows(seen, *await look_at_mark(connection, seen.stream, seen.mark.stream_seq, _TIMEOUT_S))
    except BrokerError as error:
        return f"cannot be looked at: {error}"
