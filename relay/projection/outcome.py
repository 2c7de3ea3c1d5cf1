"""How the work on one partition can end."""

from relay.errors import RelayError


class Fenced(RelayError):
    """Another runner owns the partition, or an operator has paused it. Nothing was changed."""


class Stopped(RelayError):
    """The projection must not go on by itself; the text says why. The position is what it was.

    Attributes:
        gap_last: The last sequence that is missing from the stream, if that is the reason.
    """

    def __init__(self, reason: str, gap_last: int | None = None) -> None:
        super().__init__(reason)
        self.gap_last = gap_last


class Unfit(OSError):
    """The store cannot be used until somebody corrects a setting, a right or a handler; it is tried again."""


class StatementUnfit(Unfit):
    """A statement fails, and as far as is known no event is at fault. The connection is sound."""


class Suspected(OSError):
    """A session or its transaction was ended while events were applied: by the fault of one, or by the server's."""


def stopped_at(stream_seq: int, word: str) -> Stopped:
    """Return the end of a projection that stops at each event that is refused.

    Args:
        stream_seq: Of the event.
        word: Why it was refused, without any value of it.
    """
    return Stopped(f"the event at stream sequence {stream_seq} was refused: {word}")
