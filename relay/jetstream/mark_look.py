"""One look at a stream, for the answer to whether it still holds what it has acknowledged."""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from relay.jetstream.connection import Connection
from relay.jetstream.stream_reader import StreamReader
from relay.rules.stream.deletable_rows import first_lost, keeps_rows, spot_checks
from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.stream_loss import DeliveredRow, Seen
from relay.rules.stream.streams import StreamState


class Kept(NamedTuple):
    """Why rows of a stream must stay.

    Attributes:
        reason: To be read after its name.
        missing: An event that it does not hold where it should, of the rows that were looked for; None without one.
    """

    reason: str
    missing: Mark | None = None


async def look_at_rows(
    connection: Connection, seen: Seen, rows: Sequence[DeliveredRow], now: float, timeout_s: float
) -> Kept | None:
    """Ask the leader of a stream what it is now, and whether it holds some of our events; None if rows may be deleted.

    Args:
        connection: Over which.
        seen: What was last seen of it, with the highest mark that is known.
        rows: Delivered rows of it, in the order of seq; some are looked for.
        now: By the database's clock, Unix seconds.
        timeout_s: How long to wait for what it is.

    Raises:
        BrokerError: It did not answer, we have no right to ask, or the connection has ended.
    """
    state = await connection.stream_state(seen.stream, timeout_s)
    checked = [] if state is None else spot_checks(rows, seen, state, now, secrets.randbelow)
    ids = await _ids_at(
        connection, state, {mark.stream_seq for mark in (seen.mark, *seen.looked)} | {row.stream_seq for row in checked}
    )
    reason = keeps_rows(seen, state, ids)
    if reason is not None or state is None:
        return None if reason is None else Kept(reason)
    missing = first_lost(checked, state, ids)
    return (
        None if missing is None else Kept("does not hold events that it has acknowledged: see `relay verify`", missing)
    )


async def _ids_at(connection: Connection, state: StreamState | None, seqs: Iterable[int]) -> dict[int, str | None]:
    """Return the message ids at some sequences: empty for a message without one, None for no message."""
    if state is None:
        return {}
    reader = StreamReader(connection, state)
    # An empty stream begins and ends at 0, which no message has.
    within = [seq for seq in seqs if max(1, state.first_seq) <= seq <= state.last_seq]
    found = await asyncio.gather(*(reader.at(seq) for seq in within))
    return {seq: None if one is None else one.message_id or "" for seq, one in zip(within, found, strict=True)}
