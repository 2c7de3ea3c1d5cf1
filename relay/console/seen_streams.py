"""What NATS has said before: since when something is missing, what a stream took, and how fast it grows. Pure."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from relay.operate.create_command import StreamLimits
from relay.operate.nats_status import NatsView, StreamView

# Over how long the growth of a stream is measured, how often it is looked at for that, and from when on it is told.
_LONG_S, _EVERY_S, _SHORT_S = 120.0, 5.0, 20.0

_Samples = deque[tuple[float, int]]
# What is said of a stream that was published to, and that nobody has seen from here.
_NOT_SEEN = "this console has not seen it yet; its name is known from the outbox"


class OutboxSide(NamedTuple):
    """What the outbox tells of streams.

    Attributes:
        waits: Returns whether events wait for a stream. While they do, what it grows by is what was inserted for it,
            and not what is drained into it.
        inserted: Returns by how much it grows in a second by what producers insert, in what its limit counts.
        names: The streams that were published to.
    """

    waits: Callable[[StreamView], bool] = lambda stream: False
    inserted: Callable[[StreamView], float | None] = lambda stream: None
    names: Sequence[str] = ()


_UNKNOWN = OutboxSide()


class SeenStreams:
    """Completes what NATS says now by what it said while somebody looked."""

    def __init__(self) -> None:
        self._away_since: float | None = None
        self._streams: dict[str, StreamView] = {}
        self._samples: dict[str, _Samples] = {}
        self._asked: set[str] = set()
        self._last: NatsView | None = None
        # Streams that are gone, and that nobody saw before: what they took is asked of the table, once.
        self.strange: tuple[str, ...] = ()

    @property
    def took(self) -> Mapping[str, tuple[str, ...]]:
        """What each stream took when it was seen last."""
        return {name: one.subjects for name, one in self._streams.items() if one.subjects}

    @property
    def growth(self) -> Mapping[str, float]:
        """By how much each stream grows in a second, as far as that is known."""
        return {name: one.growth for name, one in self._streams.items() if one.growth is not None}

    @property
    def limits(self) -> Mapping[str, StreamLimits]:
        """What each stream was set to when it was seen last."""
        return {name: one.limits for name, one in self._streams.items() if one.limits is not None}

    def learn(self, stream: str, subjects: tuple[str, ...]) -> None:
        """Take note of what a stream took that was never seen."""
        self._streams[stream] = replace(self._streams.get(stream, StreamView(stream)), subjects=subjects)
        self.strange = tuple(name for name in self.strange if name != stream)
        self._asked.add(stream)

    def completed(self, view: NatsView, now: float, outbox: OutboxSide = _UNKNOWN) -> NatsView:
        """Return a view with the times since when it is as it is, and with what streams that are gone took.

        Without an answer of NATS it holds the streams and consumers of the last one, and when that came.
        """
        if view.unreachable is not None:
            self._away_since = now if self._away_since is None else self._away_since
            last = self._last
            if last is None:
                streams = tuple(StreamView(name, missing=_NOT_SEEN) for name in outbox.names)
                return replace(view, streams=streams, since=self._away_since)
            return replace(last, unreachable=view.unreachable, since=self._away_since)
        self._away_since = None
        streams = tuple(self._known(one, now, outbox) for one in view.streams)
        self._streams |= {one.name: one for one in streams}
        self.strange = tuple(
            one.name for one in streams if one.gone and not one.subjects and one.name not in self._asked
        )
        self._last = replace(view, streams=streams, seen_at=now)
        return self._last

    def pause(self) -> None:
        """Forget since when: nobody looks for a while. What streams took is still known."""
        self._away_since = None
        self._streams = {name: replace(one, since=None) for name, one in self._streams.items()}

    def _known(self, stream: StreamView, now: float, outbox: OutboxSide) -> StreamView:
        before = self._streams.get(stream.name)
        if stream.missing is None:
            growth = self._growth(stream, now, is_still=not (stream.is_full or outbox.waits(stream)))
            return replace(stream, growth=outbox.inserted(stream) if growth is None else growth)
        self._samples.pop(stream.name, None)
        since = now if before is None or before.since is None else before.since
        if before is None:
            return replace(stream, since=since)
        return replace(stream, since=since, subjects=before.subjects, limits=before.limits)

    def _growth(self, stream: StreamView, now: float, *, is_still: bool) -> float | None:
        """Return by how much a stream grows in a second; None if it was not looked at for long enough.

        Args:
            is_still: Whether nothing waits for it: what was there before it was drained says nothing of what comes.
        """
        if not is_still:
            self._samples.pop(stream.name, None)
            return None
        samples = self._samples.setdefault(stream.name, deque())
        if samples and stream.used < samples[-1][1]:
            samples.clear()
        if not samples or now - samples[-1][0] >= _EVERY_S:
            samples.append((now, stream.used))
        while samples[0][0] < now - _LONG_S:
            samples.popleft()
        first_at, first = samples[0] if samples else (now, stream.used)
        return (stream.used - first) / (now - first_at) if now - first_at >= _SHORT_S else None
