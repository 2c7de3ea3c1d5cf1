"""Events whose acknowledgement did not come. Pure: no I/O, no clock.

While the stream remembers the id of such an event (the duplicate window) it is simply sent again. After that the stream
is searched for it first. That the stream does not hold it then does not end the doubt: a leader without a quorum keeps
what it has taken, and stores it once it is followed again. So the event may be sent once, and the stream is searched
again before it is sent again.

The stream that takes the subject now says nothing of what another one has stored. If the subject may have been
another stream's when the event was sent, all that may hold it are searched, within the window too.
"""

from collections.abc import Callable, Collection, Iterable

# A message travels for a while, so the end of the duplicate window is not relied upon: this share of it, at most this
# many seconds.
_WINDOW_SHARE = 0.5
_WINDOW_RESERVE_S = 5.0
# For as long a search that has not found an event lets it be sent, seconds: it waits for its turn meanwhile.
_FRESH_S = 1.0


class InDoubt:
    """What is not known of events that were sent.

    Args:
        streams_since: Returns the streams that may have taken a subject since a moment, monotonic seconds.

    Attributes:
        since: When an event in doubt was first sent, monotonic seconds, by seq.
        subjects: What it was sent on, by seq.
        ids: The id of an event in doubt, by seq.
        found: Events that a stream was seen to hold, not marked yet: stream and sequence, by seq.
        absent: Events that their stream did not hold when it was searched last: when each was first sent, and on what,
            by seq. It may still come, behind all that the stream held then.
    """

    def __init__(self, streams_since: Callable[[str, float], Collection[str]]) -> None:
        self._streams_since = streams_since
        # The streams that each event in doubt, or absent, may have been sent to; without any, it may be in each.
        self._sent_to: dict[int, frozenset[str]] = {}
        self.since: dict[int, float] = {}
        self.ids: dict[int, str] = {}
        self.found: dict[int, tuple[str, int]] = {}
        # The ids of these. And which of them are in memory alone, as far as a search knows: their rows were deleted, or
        # marked by hand.
        self._found_ids: dict[int, str] = {}
        self._unlisted: set[int] = set()
        self.subjects: dict[int, str] = {}
        self.absent: dict[int, tuple[float, str]] = {}
        # When a search has let an event be sent once.
        self._may_go: dict[int, float] = {}
        self._passed_over: dict[int, int] = {}

    def __bool__(self) -> bool:
        """Report whether any event has to be looked at before it is sent."""
        return bool(self.since or self.found or self.absent)

    def doubt(self, seq: int, sent_at: float, subject: str, event_id: str = "") -> None:
        """Note an event whose outcome is unknown; the first time that it was sent counts."""
        self.ids[seq] = event_id
        first_sent_at, _ = self.absent.pop(seq, (sent_at, subject))
        streams = frozenset(self._streams_since(subject, sent_at))
        before = self._sent_to.get(seq)
        # Where one of the messages may be anywhere, nothing is known of the event.
        self._sent_to[seq] = streams if before is None else streams and before and before | streams
        self.since.setdefault(seq, first_sent_at)
        self.subjects[seq] = subject

    def miss(self, seq: int) -> None:
        """Note that a search has not found an event in its stream."""
        if seq in self.since:
            self.absent[seq] = self.since.pop(seq), self.subjects.pop(seq, "")

    def let_go(self, seq: int, now: float) -> None:
        """Let an event be sent once that a search has not found, or whose stream is done without."""
        self.miss(seq)
        if seq in self.absent:
            self._may_go[seq] = now

    def subject(self, seq: int) -> str:
        """Return what an event was sent on, empty if that is not known."""
        return self.subjects.get(seq) or self.absent.get(seq, (0.0, ""))[1]

    def sent_on(self) -> set[str]:
        """Return all subjects that events in doubt, or absent, were sent on."""
        return {*self.subjects.values(), *(subject for _, subject in self.absent.values())} - {""}

    def must_be_looked_at(self, seq: int) -> bool:
        """Report whether an event has to be looked at before it is sent."""
        return seq in self.since or seq in self.found or seq in self.absent

    def takes_leave(self, seq: int, now: float) -> bool:
        """Report whether a search has let an event be sent; once for each search."""
        return now - self._may_go.pop(seq, float("-inf")) <= _FRESH_S

    def pass_over(self, seq: int) -> int:
        """Note that a stream stored what was sent after an event in doubt. Return how often that was seen of it."""
        self._passed_over[seq] = self._passed_over.get(seq, 0) + 1
        return self._passed_over[seq]

    def find(self, seq: int, stream: str, stream_seq: int, event_id: str, *, listed: bool = True) -> None:
        """Note that a stream holds an event that is not marked.

        Args:
            listed: Whether its row is pending; else it is known from memory alone.
        """
        self.found[seq] = stream, stream_seq
        self._found_ids[seq] = event_id
        (self._unlisted.discard if listed else self._unlisted.add)(seq)

    def answered_late(self, seq: int, stream: str, stream_seq: int) -> None:
        """Note that a stream holds an event whose acknowledgement was not waited for any more.

        On a slow link each acknowledgement of a large event may come too late: it must not be sent again for ever.
        """
        if seq in self.since or seq in self.absent:
            self.find(seq, stream, stream_seq, self.ids[seq])

    def place_of(self, seq: int, event_id: str) -> tuple[str, int] | None:
        """Return where a stream was seen to hold an event: stream and sequence; None if none was.

        What was found of another event of its seq is forgotten: its row was deleted, and somebody has used the seq.
        """
        if seq in self.found and self._found_ids[seq] != event_id:
            del self.found[seq], self._found_ids[seq]
            self._unlisted.discard(seq)
        return self.found.get(seq)

    def found_pending(self) -> set[int]:
        """Return the seqs of those that were found whose rows were pending then, whether they are in memory or not."""
        return self.found.keys() - self._unlisted

    def resolve(self, seq: int) -> None:
        """Forget an event: it is known to be stored, or not to be."""
        for book in (
            self.since,
            self.ids,
            self.found,
            self._found_ids,
            self.subjects,
            self.absent,
            self._may_go,
            self._passed_over,
            self._sent_to,
        ):
            book.pop(seq, None)
        self._unlisted.discard(seq)

    def sent_to(self, seq: int) -> frozenset[str]:
        """Return the streams that an event may have been sent to; empty if none is known: it may be any."""
        return self._sent_to.get(seq, frozenset())

    def may_be_elsewhere(self, seq: int, stream: str | None) -> bool:
        """Report whether an event that was sent may be in another stream than this one, which takes its subject now."""
        return seq in self._sent_to and self._sent_to[seq] != {stream}

    def id_may_be_forgotten(self, seq: int, stream: str, window_s: float, now: float) -> bool:
        """Report whether a stream may not know the id of an event that was sent.

        Args:
            stream: It takes the subject of the event now; another one may hold the event.
            window_s: Its duplicate window, seconds.
            now: Monotonic seconds.
        """
        if self.may_be_elsewhere(seq, stream):
            return True
        sent_at = self.since.get(seq) if seq not in self.absent else self.absent[seq][0]
        return sent_at is not None and now - sent_at > window_s - min(window_s * _WINDOW_SHARE, _WINDOW_RESERVE_S)

    def places(self, stream_of: Callable[[str], str | None]) -> dict[int, str | None]:
        """Return the stream that each event in doubt is in, or may be in; None if that is not known.

        Args:
            stream_of: Returns the name of the stream that takes a subject, None if it is not known.
        """
        unsure: dict[int, str | None] = {}
        for seq, subject in self.subjects.items():
            stream = stream_of(subject)
            unsure[seq] = None if self.may_be_elsewhere(seq, stream) else stream
        return {**unsure, **{seq: stream for seq, (stream, _) in self.found.items()}}

    def forget(self, watermark: int) -> None:
        """Forget what is settled in another way: everything up to the watermark."""
        for seq in [seq for seq in {*self.since, *self.found, *self.absent} if seq <= watermark]:
            self.resolve(seq)

    def disjoint(self, seqs: Iterable[int]) -> bool:
        """Report whether nothing is in doubt or found among events."""
        return not any(self.must_be_looked_at(seq) for seq in seqs)
