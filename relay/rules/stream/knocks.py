"""Knocks: events that are sent to find out whether anybody takes their subject, and that no stream stores. Pure.

The server says that no stream of this account takes a subject. A stream of another account may all the same. Or one
that is gone is made again at this moment; then what it has lost goes before what waits. So the event is sent on a
condition that no stream meets (`relay.rules.sending.envelopes.knocking`). Who refuses it for that takes the subject,
and is looked up before the event is sent as it is.
"""


class Knocks:
    """The events of a term that knock."""

    def __init__(self) -> None:
        self._knocking: set[int] = set()
        self._heard: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._knocking)

    def __contains__(self, seq: int) -> bool:
        """Report whether an event knocks when it is sent next, or was sent so and has no answer yet."""
        return seq in self._knocking

    def begin(self, seq: int) -> None:
        """Let an event knock when it is sent next."""
        self._knocking.add(seq)

    def end(self, seq: int) -> bool:
        """Take that an event was answered, or is not answered; report whether it knocked."""
        is_knocking = seq in self._knocking
        self._knocking.discard(seq)
        return is_knocking

    def failed(self, seq: int, *, by_condition: bool) -> bool:
        """Take that an event was not stored, or may not be; report whether it knocked, and was heard.

        Then it is to be looked up who takes its subject, and `take_heard` says once that it was so.

        Args:
            by_condition: Its stream has refused it because it expects another one.
        """
        is_heard = self.end(seq) and by_condition
        if is_heard:
            self._heard.add(seq)
        return is_heard

    def take_heard(self, seq: int) -> bool:
        """Report whether the knock of an event was heard, and forget that."""
        is_heard = seq in self._heard
        self._heard.discard(seq)
        return is_heard
