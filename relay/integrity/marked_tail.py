"""Find out which messages of a tail need not be read, since events of ours that are marked lie there.

A relay that is killed in a drain leaves some ten thousand messages above the floor that it has saved last. All but the
newest of them are marked, and a mark says where its event lies.

A mark is true for the stream that it was made from. One that was set back since may hold another event there, without a
mark. So no mark counts that is older than the messages of the tail, by one clock, and none in a stream that was made
again since it was looked at, has a loss, or a repair that has not shown to help yet.
"""

from relay.integrity.watched import Watched
from relay.jetstream.errors import LookupForbidden
from relay.jetstream.stream_reader import StreamReader
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.order.seq_bounds import LARGEST
from relay.rules.stream.stream_loss import Seen
from relay.rules.stream.streams import StreamState
from relay.rules.stream.unread_ranges import unread_ranges

# Of fewer messages no mark is asked for: they are read as fast.
_SHORT_TAIL = 2_000
# Marks are looked for below and above the watermark, in ranges of this many seqs, until one has none.
_SPAN = 20_000
# How many ranges are looked through on either side at most.
_MOST_SPANS = 20
# So many without any mark are passed over above the watermark, before the first that has some: it is up to a second
# older than the floor, from which on the stream is searched.
_PASSED_OVER = 5


async def ranges_to_read(
    stored: StreamReader, watched: Watched, first: int, reader: OutboxReader, watermark: int, below: int | None
) -> list[tuple[int, int]]:
    """Return which sequences of a stream, from one on, may hold events of ours without a mark; as ranges, ascending.

    Args:
        stored: The stream as it is.
        watched: What is known of it.
        first: Below it nothing is looked for.
        reader: The outbox.
        watermark: A seq around which the events lie that were marked last.
        below: Marks of events with lower seqs count alone: what is in memory is looked for whatever its row says by
            now. None: nothing is in memory.

    Raises:
        BrokerError: The connection has ended.
    """
    last = stored.state.last_seq
    since = None
    if last - first >= _SHORT_TAIL and _is_as_it_was(stored.state, watched.seen):
        since = await _stored_at(stored, first, reader)
    if since is None:
        return [(first, last)]
    most = LARGEST if below is None else below - 1
    around = min(watermark, most)
    marked: list[tuple[int, int]] = []
    furthest = _SPAN * _MOST_SPANS
    downwards = range(around - _SPAN, around - furthest - 1, -_SPAN)
    upwards = range(around, min(around + furthest, most), _SPAN)
    for spans, left in ((downwards, 0), (upwards, _PASSED_OVER)):
        for low in spans:
            found = await reader.marked_ranges(low, min(low + _SPAN, most), watched.name, (first, last), since)
            marked += found
            if not found and (marked or not left):
                break
            left -= 1
    return unread_ranges(first, last, marked)


def _is_as_it_was(state: StreamState, seen: Seen) -> bool:
    """Report whether a stream has neither been made again since it was looked at, nor has it lost anything lately."""
    return seen.created == state.created and not seen.lost and not seen.repaired_at


async def _stored_at(stored: StreamReader, first: int, reader: OutboxReader) -> float | None:
    """Return when the first message of a tail was stored, by the database's clock, or a moment later; None: unknown.

    Raises:
        BrokerError: The connection has ended.
    """
    try:
        at = await stored.time_from(first, ">")
    except LookupForbidden:
        return None
    if at is None or stored.state.at is None:
        return None
    # The server said what its clock shows before the database does: the difference is too large rather than too small.
    return at + await reader.now() - stored.state.at
