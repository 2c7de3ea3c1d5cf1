"""Notice that the database draws seqs again that a stream holds, under the same origin, for other events.

A database that has lost commits and a sequence that was set back do so, unless the operator runs
`relay migrate --new-origin` first. A read model that goes by seqs takes such an event for a repeat. What a stream holds
above its floor was sent after the marks that the database knows of, so the search of the tail meets what was lost.
See docs/design/decisions/0018-seqs-that-are-drawn-again.md.
"""

import logging
from collections.abc import Sequence

from relay.jetstream.stream_reader import StoredId, event_ids
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.database.origins import Origins

log = logging.getLogger(__name__)

_AGAIN = (
    "the stream holds events of this outbox whose seqs are other rows' now, or are about to be drawn again: the"
    " database has lost commits, or its sequence was set back; read models that go by seqs may pass over new events."
    " Run `relay migrate --new-origin`, then `relay projection verify`"
)
_BEFORE = (
    "the stream holds events of this outbox whose seqs were drawn again before the newest origin began; read models"
    " that go by seqs may have passed over events. Run `relay projection verify`, if you have not since"
)


class ReusedSeqs:
    """Compares numbered messages of streams with the rows of their seqs.

    Args:
        origins: Those of the outbox now; what was sent with another one names another event in any case.

    Attributes:
        found: Whether any was found of the newest origin. Another origin ends the report of earlier ones: once more
            would not change what was drawn before.
    """

    def __init__(self, reader: OutboxReader, origins: Origins, metrics: Metrics) -> None:
        self._reader = reader
        self._origins = origins
        self._metrics = metrics
        # The last sequence of each stream that was compared: a tail may be read many times in a term.
        self._compared: dict[str, int] = {}
        self.found = False

    async def compare(self, stream: str, page: Sequence[StoredId]) -> None:
        """Report what of a page of a stream, in the stream's order, carries a seq that is another event's."""
        above = self._compared.get(stream, 0)
        news = numbered([one for one in page if one.seq > above], self._origins)
        if page:
            self._compared[stream] = max(above, page[-1].seq)
        if not news:
            return
        reused = await self._reader.reused_seqs(news)
        if reused:
            goes_on = any(self._origins.is_newest(one.seq) for one in reused)
            self.found = self.found or goes_on
            self._metrics.reused(len(reused))
            log_event(
                log,
                "error",
                "seqs.again",
                _AGAIN if goes_on else _BEFORE,
                stream=stream,
                events=len(reused),
                seq=reused[0].seq,
                event_id=reused[0].event_id,
                drawn_already=sum(one.drawn_already for one in reused),
            )


def numbered(page: Sequence[StoredId], origins: Origins) -> list[tuple[int, str]]:
    """Return seq and id of each event whose message carries the origin that this seq has now."""
    ours = event_ids(page)
    return [
        (one.outbox_seq, one.message_id)
        for one in page
        if one.outbox_seq is not None
        and one.message_id is not None
        and one.message_id in ours
        and one.origin
        and one.origin == origins.of(one.outbox_seq)
    ]
