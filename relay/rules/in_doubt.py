"""Events whose acknowledgement did not come. Pure: no I/O, no clock."""

from collections.abc import Iterable

# Of the duplicate window this much is not relied upon: an event is on its way for a while too.
_WINDOW_SHARE = 0.5


_WINDOW_RESERVE_S = 5.0


class Doubts:
    """What is not known of events that were sent.

    Attributes:
        since: When an event in doubt was first sent, monotonic seconds, by seq.
        found: Events that the stream was seen to hold, not marked yet: stream and sequence, by seq.
    """

    def __init__(self) -> None:
        self.since: dict[int, float] = {}
        self.found: dict[int, tuple[str, int]] = {}

    def __bool__(self) -> bool:
        """Tell whether any event has to be looked at before it is sent."""
        return bool(self.since or self.found)

    def doubt(self, seq: int, sent_at: float) -> None:
        """Take an event whose outcome is unknown; the first time that it was sent counts."""
        self.since.setdefault(seq, sent_at)

    def resolve(self, seq: int) -> None:
        """Forget an event: it is known to be stored, or not to be."""
        self.since.pop(seq, None)
        self.found.pop(seq, None)

    def outlived(self, seq: int, window_s: float, now: float) -> bool:
        """Tell whether the stream may have forgotten the id of an event that it may hold."""
        sent_at = self.since.get(seq)
        return sent_at is not None and now - sent_at > window_s - min(window_s * _WINDOW_SHARE, _WINDOW_RESERVE_S)

    def forget(self, watermark: int) -> None:
        """Forget what is settled in another way: everything up to the watermark."""
        for book in (self.since, self.found):
            for seq in [seq for seq in book if seq <= watermark]:
                del book[seq]

    def disjoint(self, seqs: Iterable[int]) -> bool:
        """Tell whether nothing is in doubt or found among events."""
        return not any(seq in self.since or seq in self.found for seq in seqs)
