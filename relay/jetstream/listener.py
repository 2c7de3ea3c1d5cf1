"""What a connection to NATS reports of the events that were sent over it."""

from collections.abc import Sequence

from relay.jetstream.acknowledgements import Stored
from relay.rules.failure.failures import Forbidden, NoResponders, Refused


class Listener:
    """What a connection reports; each is called in the event loop and must not raise."""

    def stored(self, stored: Sequence[Stored]) -> None:
        """Single events are in their streams, each under the token with which it was sent."""

    def batch_stored(self, batch: int, stream: str, last_seq: int, count: int) -> None:
        """An atomic batch is in the stream, at `count` sequences that end with `last_seq`.

        Another count than that of its events proves nothing of them: a server that does not know batches stores single
        messages, and counts none.
        """

    def refused(self, token: int, failure: Refused | NoResponders) -> None:
        """One event was not stored."""

    def batch_refused(self, batch: int, failure: Refused | NoResponders) -> None:
        """Nothing of an atomic batch was stored."""

    def forbidden(self, subject: str, failure: Forbidden) -> None:
        """The server refused a publish on a subject, which is given in lower case."""

    def lost(self, reason: str) -> None:
        """The connection has ended."""
