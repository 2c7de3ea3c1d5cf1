"""Which streams may have lost what they had acknowledged, by how they acknowledge. Pure: no I/O, no clock.

A stream numbers what it stores, and its leader answers in that order, so the sequences that it acknowledges to us rise,
whoever else publishes to it. One that does not rise shows that the stream was set back, or made again; or that two
answers overtook each other, as leaders change. What is acknowledged next may soon lie above all that ever was. So the
event at the highest sequence before is kept as a *witness*: the stream has lost nothing that it had acknowledged until
then if it still holds that event there.

After an outage others may have filled up what a stream lost, before it acknowledges anything to us. So there is a
witness of each outage too.

Nothing is sent until somebody has looked: what was lost goes before what waited.
"""

from collections.abc import Callable, Collection, Sequence

from relay.outcomes import Delivered
from relay.rules.stream.stream_floors import Mark

# More of one stream between two looks are not kept.
_MOST_WITNESSES = 8


class SetBackSuspects:
    """What each stream acknowledged, and which are to be looked at because of that.

    Args:
        notice: Called when there is another stream to look at.
        looked: Called when one of them was looked at, or is done without.

    Attributes:
        wanted: The streams to look at.
        awaited: Those of them before whose look nothing may be sent.
    """

    def __init__(self, notice: Callable[[], None], looked: Callable[[], None]) -> None:
        self._notice = notice
        self._looked = looked
        self._highest: dict[str, Mark] = {}
        self._witnesses: dict[str, list[Mark]] = {}
        # Of these a sequence did not rise; and of these that was so although nothing was lost, a moment ago.
        self._fallen: set[str] = set()
        self._calm: set[str] = set()
        self.wanted: set[str] = set()
        self.awaited: set[str] = set()

    def acknowledged(self, delivered: Sequence[Delivered]) -> None:
        """Take acknowledgements in the order in which they came: a comparison of two numbers for each."""
        stream, above = "", 0
        highest: Delivered | None = None
        for one in delivered:
            if one[2] > above and one[1] == stream:
                above, highest = one[2], one
                continue
            self._raise(stream, highest)
            stream, highest = one[1], None
            above = self._highest[stream].stream_seq if stream in self._highest else 0
            if one[2] > above:
                above, highest = one[2], one
            elif not one[3]:  # one that the stream had already lies anywhere
                self._went_back(stream)
                above, highest = one[2], one
        self._raise(stream, highest)

    def _raise(self, stream: str, highest: Delivered | None) -> None:
        if highest is not None:
            self._highest[stream] = Mark(highest[2], highest[0].id)

    def _went_back(self, stream: str) -> None:
        self._call_witness(stream)
        self._fallen.add(stream)
        # Where answers overtake each other they may do so again and again; what is sent need not wait each time.
        if stream not in self._calm:
            self.awaited.add(stream)

    def _call_witness(self, stream: str) -> None:
        witnesses, highest = self._witnesses.setdefault(stream, []), self._highest[stream]
        if highest not in witnesses and len(witnesses) < _MOST_WITNESSES:
            witnesses.append(highest)
        self.wanted.add(stream)
        self._notice()

    def returned(self, stream: str) -> None:
        """Note that a stream takes events again after an outage; what it acknowledged since is taken afterwards."""
        if stream in self._highest:
            self._call_witness(stream)
            self.awaited.add(stream)

    def known(self) -> frozenset[str]:
        """Return the streams that have acknowledged anything that they could have lost."""
        return frozenset(self._highest)

    def suspect(self, stream: str, missing: Mark | None) -> None:
        """Have a stream looked at that does not hold what it should; nothing waits for that.

        Args:
            stream: One that acknowledges our events; of another one nobody can find out what it has lost.
            missing: An event that it was seen not to hold, as one more witness; None if it is not known which.
        """
        if stream not in self._highest:
            return
        witnesses = self._witnesses.setdefault(stream, [])
        if missing is not None and missing not in witnesses and len(witnesses) < _MOST_WITNESSES:
            witnesses.append(missing)
        self.wanted.add(stream)
        self._notice()

    def begin(self, stream: str, mark: Mark) -> None:
        """Begin with the highest mark in the outbox, if it is higher than what is known."""
        known = self._highest.get(stream)
        if mark.event_id is not None and (known is None or mark.stream_seq > known.stream_seq):
            self._highest[stream] = mark

    def witnesses(self, stream: str) -> tuple[Mark, ...]:
        """Return the events that a stream still holds if it has lost nothing; what was called first comes first."""
        return tuple(self._witnesses.get(stream, ()))

    def looked(self, stream: str, witnesses: Collection[Mark], *, in_turn: bool) -> None:
        """Take it that nothing more is to be learned from the witnesses of a stream.

        Args:
            stream: Which.
            witnesses: Those that there were when the look began. One that was called since is still to be looked for.
            in_turn: It was looked at because the time had come.
        """
        if in_turn:
            self._calm.discard(stream)
        elif stream in self._fallen:
            self._calm.add(stream)
        left = [one for one in self._witnesses.pop(stream, ()) if one not in witnesses]
        if left:
            self._witnesses[stream] = left
        else:
            self._fallen.discard(stream)
            self.let_go(stream)

    def let_go(self, stream: str) -> None:
        """Let events flow although a stream cannot be looked at; its witnesses stay for the next look."""
        self.wanted.discard(stream)
        self.awaited.discard(stream)
        self._looked()

    def forget(self, stream: str) -> None:
        """Forget what a stream has acknowledged: it was compared with the outbox."""
        self._highest.pop(stream, None)
        self._witnesses.pop(stream, None)
        self._fallen.discard(stream)
        self.let_go(stream)
