"""Which of the pending events that the scrub has found are sent, and which were sent in vain. Pure: no I/O, no clock.

An event that was sent because it was found, was marked, and is found pending again has been set back at once: as a
rule by a trigger. Sending it once more would not help. If the scrub sees it settled in between, somebody wants it sent
again.
"""

from collections.abc import Collection, Iterable


class ScrubFindings:
    """What was found over one connection to the database; another database may have lost marks.

    Args:
        most: How many seqs are remembered. Beyond that they are forgotten; but while any of them was sent in vain, what
            else is found is not sent.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._sent: set[int] = set()
        self._in_vain: set[int] = set()

    @property
    def in_vain(self) -> int:
        """How many events were sent in vain."""
        return len(self._in_vain)

    def clear(self) -> None:
        """Forget everything: the connection is new."""
        self._sent.clear()
        self._in_vain.clear()

    def passed(self, above: int, up_to: int, pending: Collection[int]) -> None:
        """Forget what is settled now; it may be found again.

        Args:
            above: The seq above which the scrub has read.
            up_to: The seq up to which it has read.
            pending: The seqs of all events that it has read, in our hands or not.
        """
        settled = {seq for seq in self._sent if above < seq <= up_to}.difference(pending)
        self._sent -= settled
        self._in_vain -= settled

    def has_sent(self, seq: int) -> bool:
        """Report whether an event was sent because it was found, and was not seen settled since."""
        return seq in self._sent

    def found(self, seqs: Iterable[int]) -> tuple[set[int], set[int]]:
        """Take seqs of pending events that nobody has in hand.

        Returns:
            Those that are to be sent, and those of which it has just shown that this was in vain.
        """
        to_send: set[int] = set()
        in_vain: set[int] = set()
        for seq in seqs:
            if seq in self._in_vain:
                continue
            if seq in self._sent:
                self._in_vain.add(seq)
                in_vain.add(seq)
                continue
            if len(self._sent) >= self._most:
                if self._in_vain:
                    continue
                self._sent.clear()
            self._sent.add(seq)
            to_send.add(seq)
        return to_send, in_vain
