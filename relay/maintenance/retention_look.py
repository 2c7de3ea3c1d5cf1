"""Which streams hold what they have acknowledged, as a look of this moment says: only their rows may be deleted."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.jetstream.mark_look import Kept, look_at_rows
from relay.observe.logs import event as log_event
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.stream.set_back_suspects import SetBackSuspects
from relay.rules.stream.stream_floors import Floors
from relay.rules.stream.stream_loss import DeliveredRow, Seen

log = logging.getLogger(__name__)

_TIMEOUT_S = 2.0
# A stream whose rows have to stay is looked at again after this time, seconds.
_AGAIN_S = 10.0
# A stream may have this many places in the log; further ones are kept in silence.
_TOLD = 100


class RetentionLook:
    """Looks at streams before rows of theirs are deleted, and keeps the rows of those of which that is not seen.

    Args:
        reader: Says what the relays last saw of each stream.
        floors: What this relay knows since then.
        set_backs: Which streams may have lost something since.
    """

    def __init__(self, reader: OutboxReader, floors: Floors, set_backs: SetBackSuspects) -> None:
        self._reader = reader
        self._floors = floors
        self._set_backs = set_backs
        # When a stream that keeps its rows was looked at, monotonic seconds.
        self._kept_at: dict[str, float] = {}
        self._told: set[str] = set()

    def due(self, streams: Iterable[str]) -> list[str]:
        """Return which streams that have old rows are to be looked at: not those that had to keep theirs just now."""
        oldest = time.monotonic() - _AGAIN_S
        return [stream for stream in streams if self._kept_at.get(stream, oldest) <= oldest]

    async def cleared(self, connection: Connection, rows: Mapping[str, Sequence[DeliveredRow]]) -> list[str]:
        """Look at streams, and for some of their rows; return those whose old ones may be deleted now.

        Args:
            connection: Over which.
            rows: What is to be deleted, in the order of seq, by stream.

        Raises:
            Unfinished: PostgreSQL did not say in time what was seen of them before.
            BrokerError: The connection has ended.
        """
        cleared = []
        for stream, kept in (await self._look(connection, rows)).items():
            if kept is not None:
                self._is_kept(stream, kept)
            # What may have been set back since is not known to hold anything.
            elif not self._set_backs.witnesses(stream):
                cleared.append(stream)
                self._kept_at.pop(stream, None)
                self._is_sound(stream)
        return cleared

    async def look_again(self, connection: Connection) -> bool:
        """Look at the streams whose rows had to stay; report whether those of any may be deleted, for what they show.

        Raises:
            Unfinished: As `cleared`.
            BrokerError: As `cleared`.
        """
        looked = await self._look(connection, dict.fromkeys(self.due(list(self._kept_at)), ()))
        sound = [stream for stream, kept in looked.items() if kept is None]
        for stream in sound:
            del self._kept_at[stream]
        return bool(sound)

    def forget(self) -> None:
        """Forget which streams keep rows: they may have none any more."""
        self._kept_at.clear()

    async def _look(self, connection: Connection, rows: Mapping[str, Sequence[DeliveredRow]]) -> dict[str, Kept | None]:
        if not rows:
            return {}
        seen = {one.stream: one for one in await self._reader.streams_seen(patient=False, of_all=True)}
        began, now = time.monotonic(), await self._reader.now()
        looks = (
            _look_at(connection, self._with_newest_mark(seen.get(stream, Seen(stream))), some, now)
            for stream, some in rows.items()
        )
        found = dict(zip(rows, await asyncio.gather(*looks), strict=True))
        if not connection.up:
            raise BrokerError("the connection has ended")
        # One that is sound has to say so again: all keep their rows until then.
        self._kept_at.update(dict.fromkeys(found, began))
        return found

    def _with_newest_mark(self, seen: Seen) -> Seen:
        """Return what was seen of a stream with the mark of this relay, if that is higher than what was saved."""
        mark = self._floors.marks.get(seen.stream, seen.mark)
        return replace(seen, mark=mark) if mark.stream_seq > seen.mark.stream_seq else seen

    def _is_kept(self, stream: str, kept: Kept) -> None:
        if stream not in self._told and len(self._told) < _TOLD:
            self._told.add(stream)
            # It is compared with the outbox at once, and healed if it has lost something.
            self._set_backs.suspect(stream, kept.missing)
            log_event(
                log,
                "warning",
                "retention.kept",
                "old rows of the stream stay in the table until it is seen to hold what it has acknowledged;"
                " `relay prune --accept-loss` deletes them all the same",
                stream=stream,
                reason=kept.reason,
            )

    def _is_sound(self, stream: str) -> None:
        if stream in self._told:
            self._told.discard(stream)
            log_event(log, "info", "retention.resumed", "old rows of the stream are deleted again", stream=stream)


async def _look_at(connection: Connection, seen: Seen, rows: Sequence[DeliveredRow], now: float) -> Kept | None:
    try:
        return await look_at_rows(connection, seen, rows, now, _TIMEOUT_S)
    except BrokerError as error:
        return Kept(f"cannot be looked at: {error}")
