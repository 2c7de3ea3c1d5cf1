"""What publishing refuses. In both cases nothing was written, and the caller's transaction is as it was."""


class InvalidEvent(ValueError):
    """The relay could never send this event: it would become a dead letter.

    Attributes:
        reason: One word, the relay's own: ``subject``, ``headers`` or ``size``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class NotInTransaction(RuntimeError):
    """The connection commits each statement by itself, so the event could be committed without its data."""

    def __init__(self) -> None:
        super().__init__(
            "publish inside a transaction: this connection is in autocommit, so the event would be committed alone"
        )
