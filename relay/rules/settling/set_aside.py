"""Acknowledged events that could not be marked: their rows are locked, or the database refuses to change them. Pure.

They are stored, so they take no room from what flows: only what a mark needs is kept of each.
"""

from collections.abc import Collection, Iterable

from relay.outcomes import Delivered


class SetAside:
    """Keeps them until they are marked.

    Args:
        most: How many there may be. Beyond that nothing more is read from the outbox.

    Attributes:
        most: The same.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._seqs: set[int] = set()
        self._waiting: list[Delivered] = []

    def __len__(self) -> int:
        """Return how many there are, those included whose marks are being tried."""
        return len(self._seqs)

    @property
    def seqs(self) -> Collection[int]:
        """Their seqs."""
        return self._seqs

    @property
    def is_full(self) -> bool:
        """Whether there are as many as there may be."""
        return len(self._seqs) >= self.most

    def put(self, delivered: Iterable[Delivered]) -> None:
        """Set events aside, new ones or such as were tried in vain. Payload, headers, topic and key are let go."""
        for one in delivered:
            if one[0].seq not in self._seqs:
                self._seqs.add(one[0].seq)
                one = (one[0].stripped(), *one[1:])
            self._waiting.append(one)

    def take(self) -> list[Delivered]:
        """Take all of them, to be tried; each is to be put back or forgotten."""
        taken, self._waiting = self._waiting, []
        return taken

    def forget(self, seqs: Iterable[int]) -> None:
        """Forget events that are marked, or settled in another way."""
        self._seqs.difference_update(seqs)
