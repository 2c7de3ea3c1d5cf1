"""What publishing and commands refuse. Nothing was written, and the caller's transaction is as it was."""


class InvalidEvent(ValueError):
    """The relay could never send this event: it would become a dead letter, or PostgreSQL would refuse its row.

    Attributes:
        reason: One word. What the relay would refuse is of its own: ``subject``, ``headers`` or ``size``. Otherwise it
            is the part that is wrong: ``topic``, ``key``, ``headers`` or ``payload``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class NotInTransaction(RuntimeError):
    """The connection commits each statement by itself, so what it writes could be committed without its data."""

    def __init__(self, call: str) -> None:
        alone = "the command" if call.startswith(("once", "remember")) else "the event"
        super().__init__(
            f"call {call} inside a transaction: this connection is in autocommit, so {alone} would be committed alone"
        )


class KeyReused(ValueError):
    """The key of a command was used for another request."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key[:100]!r} was used for another request")


class NotBegun(LookupError):
    """`once` has not begun the command whose result is to be stored."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no command was begun under the key {key[:100]!r}: call once first, in the same transaction")
