"""Look at the streams that we publish to: how much room each has before it refuses events, or drops the oldest."""

from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.observe.metrics import Metrics
from relay.rules.stream_floors import Floors

_ANSWER_S = 2.0


class StreamRoom:
    """Reports the room of streams to the metrics.

    Args:
        floors: Knows the streams that we publish to.
        metrics: Shows their room.
    """

    every_s = 15.0
    longest_pause_s = 60.0

    def __init__(self, floors: Floors, metrics: Metrics) -> None:
        self._floors = floors
        self._metrics = metrics

    async def turn(self, connection: Connection) -> float:
        """Look at each stream; one that does not answer, or may not be looked at, is left out.

        Raises:
            BrokerError: The connection has ended.
        """
        rooms = {}
        for stream in list(self._floors.marks):
            try:
                state = await connection.stream_state(stream, _ANSWER_S)
            except BrokerError:
                if not connection.up:
                    raise
                continue
            if state is not None and state.room is not None:
                rooms[stream] = state.room
        self._metrics.rooms_seen(rooms)
        return self.every_s if self._floors.marks else 1.0

    def stand_down(self) -> None:
        """Show nothing: what was seen is growing old."""
        self._metrics.rooms_seen({})
