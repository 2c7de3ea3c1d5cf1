"""Events whose acknowledgement did not come. Pure: no I/O, no clock.

While the stream remembers the id of such an event (the duplicate window) it is simply sent again. After that the stream
is searched for it first.
"""

from collections.abc import Callable, Iterable

# A message travels for a while, so the end of the duplicate window is not relied upon: this share of it, at most this
# many seconds.
_WINDOW_SHARE = 0.5
_WINDOW_RESERVE_S = 5.0


class InDoubt:
    """What is not known of events that were sent.

    Attributes:
        since: When an event in doubt was first sent, monotonic seconds, by seq.
        subjects: What it was sent on, by seq.
        found: Events that a stream was seen to hold, not marked yet: stream and sequence, by seq.
    """

    def __init__(self) -> None:
        self.since: dict[int, float] = {}
        self.found: dict[int, tuple[str, int]] = {}
        self.subjects: dict[int, str] = {}
        self._passed_over: dict[int, int] = {}

    def __bool__(self) -> bool:
        """Report whether any event has to be looked at before it is sent."""
        return bool(self.since or self.found)

    def doubt(self, seq: int, sent_at: float, subject: str) -> None:
        """Note an event whose outcome is unknown; the first time that it was sent counts."""
        self.since.setdefault(seq, sent_at)
        self.subjects[seq] = subject

    def pass_over(self, seq: int) -> int:
        """Note that a stream stored what was sent after an event in doubt. Return how often that was seen of it."""
        self._passed_over[seq] = self._passed_over.get(seq, 0) + 1
        return self._passed_over[seq]

    def find(self, seq: int, stream: str, stream_seq: int) -> None:
        """Note that a stream holds an event that is not marked."""
        self.found[seq] = stream, stream_seq

    def resolve(self, seq: int) -> None:
        """Forget an event: it is known to be stored, or not to be."""
        for book in (self.since, self.found, self.subjects, self._passed_over):
            book.pop(seq, None)

    def id_may_be_forgotten(self, seq: int, window_s: float, now: float) -> bool:
        """Report whether the stream may have forgotten the id of an event that it may hold."""
        sent_at = self.since.get(seq)
        return sent_at is not None and now - sent_at > window_s - min(window_s * _WINDOW_SHARE, _WINDOW_RESERVE_S)

    def places(self, stream_of: Callable[[str], str | None]) -> dict[int, str | None]:
        """Return the stream that each event in doubt is in, or may be in; None if that is not known.

        Args:
            stream_of: Returns the name of the stream that takes a subject, None if it is not known.
        """
        unsure = {seq: stream_of(subject) for seq, subject in self.subjects.items()}
        return {**unsure, **{seq: stream for seq, (stream, _) in self.found.items()}}

    def forget(self, watermark: int) -> None:
        """Forget what is settled in another way: everything up to the watermark."""
        for seq in [seq for seq in {*self.since, *self.found} if seq <= watermark]:
            self.resolve(seq)

    def disjoint(self, seqs: Iterable[int]) -> bool:
        """Report whether nothing is in doubt or found among events."""
        return not any(seq in self.since or seq in self.found for seq in seqs)
