"""Find the event that ends the session, or the transaction, in which it is applied. Pure: no I/O.

That a session ends says nothing of whose fault it is: an event's, or the server's. So what failed is tried again in
smaller groups, down to one event. One that failed alone is refused once another event could be applied and it has
failed alone again: that tells it from a server that goes. What every event meets is waited for.
"""

FULL = 1_000
# How many messages are taken at once in what has failed, before each is taken alone.
FEW = 30


class Suspects:
    """The range of the stream in which something failed, and what was found in it.

    Attributes:
        reason: Why it failed the last time, and where.
        alone: The sequence of an event that has failed alone, and may be at fault.
        tries: How often that has failed since, or nothing else could be applied either.
        convicted: The reasons of the events that are at fault, by sequence.
    """

    def __init__(self) -> None:
        self._created = ""
        self._begins = self._until = 0
        self._size = FULL
        self.reason = ""
        self.alone: int | None = None
        self.tries = 0
        self.convicted: dict[int, str] = {}

    @property
    def active(self) -> bool:
        """Whether the next messages are among those that have failed."""
        return self._until > 0

    @property
    def limit(self) -> int:
        """How many messages may be taken at once; behind one that failed alone, enough to show whether others can."""
        return FULL if not self.active or self.alone is not None else self._size

    def begin(self, created: str, position: int) -> None:
        """Forget everything if the next messages are no suspects.

        Args:
            created: Which stream they are from.
            position: What they follow.
        """
        if self.active and (created != self._created or not self._begins <= position < self._until):
            self._clear()

    def failed(self, created: str, position: int, seqs: list[int], reason: str) -> None:
        """Take note that events, at least one, have failed together, or one alone."""
        if not self.active:
            self._created, self._begins = created, position
        self._until = max(self._until, seqs[-1])
        self.reason = reason
        if self.alone is not None:
            self.tries += 1
        elif len(seqs) == 1:
            self.alone, self.tries = seqs[0], 0
        else:
            self._size = FEW if len(seqs) > FEW else 1

    def convict(self, reason: str) -> None:
        """Take note that the one that failed alone did so again, and another could be applied."""
        if self.alone is not None:
            self.convicted[self.alone] = reason
        self.acquit()
        self._size = FEW

    def acquit(self) -> None:
        """Take note that the one that failed alone does so no more, or is not the next one."""
        self.alone, self.tries = None, 0

    def passed(self, position: int) -> None:
        """Take note that everything up to a position is settled."""
        if position >= self._until:
            self._clear()
        elif self.alone is not None and position >= self.alone:
            self.acquit()

    def _clear(self) -> None:
        self._until, self._size, self.reason = 0, FULL, ""
        self.convicted.clear()
        self.acquit()
