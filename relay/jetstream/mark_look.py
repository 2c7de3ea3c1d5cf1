"""One look at a stream, for the answer to whether it still holds what it has acknowledged."""

from typing import NamedTuple

from relay.jetstream.connection import Connection
from relay.jetstream.stream_reader import StreamReader
from relay.rules.streams import StreamState


class MarkLook(NamedTuple):
    """What a look has found.

    Attributes:
        state: What the stream is now; None if there is none of the name.
        id_at_mark: The message id at the sequence, empty for a message without one, None for no message.
    """

    state: StreamState | None
    id_at_mark: str | None


async def look_at_mark(connection: Connection, stream: str, stream_seq: int, timeout_s: float) -> MarkLook:
    """Ask the leader of a stream what it is now, and what lies at a sequence; 0 asks for no message.

    Raises:
        BrokerError: It did not answer, we have no right to ask, or the connection has ended.
    """
    state = await connection.stream_state(stream, timeout_s)
    # An empty stream begins and ends at 0, which no message has.
    if state is None or not max(1, state.first_seq) <= stream_seq <= state.last_seq:
        return MarkLook(state, None)
    found = await StreamReader(connection, state).at(stream_seq)
    return MarkLook(state, None if found is None else found.message_id or "")
