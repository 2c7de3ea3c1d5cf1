"""What NATS has said before: since when something is missing, what a stream took, and how fast it grows. Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from relay.operate.nats_status import NatsView, StreamView

# Over how long the growth of a stream is measured, how often it is looked at for that, and from when on it is told.
_LONG_S, _EVERY_S, _SHORT_S = 120.0, 5.0, 20.0

_Samples = deque[tuple[float, int]]


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

    def learn(self, stream: str, subjects: tuple[str, ...]) -> None:
        """Take note of what a stream took that was never seen."""
        self._streams[stream] = replace(self._streams.get(stream, StreamView(stream)), subjects=subjects)
        self.strange = tuple(name for name in self.strange if name != stream)
        self._asked.add(stream)

    def completed(self, view: NatsView, now: float) -> NatsView:
        """Return a view with the times since when it is as it is, and with the subjects of streams that are gone.

        Without an answer of NATS it holds the streams and consumers of the last one, and when that came.
        """
        if view.unreachable is not None:
            self._away_since = now if self._away_since is None else self._away_since
            last = self._last
            if last is None:
                return replace(view, since=self._away_since)
            return replace(last, unreachable=view.unreachable, since=self._away_since)
        self._away_since = None
        streams = tuple(self._known(one, now) for one in view.streams)
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

    def _known(self, stream: StreamView, now: float) -> StreamView:
        before = self._streams.get(stream.name)
        if stream.missing is None:
            return replace(stream, growth=self._growth(stream, now))
        self._samples.pop(stream.name, None)
        since = now if before is None or before.since is None else before.since
        return replace(stream, since=since, subjects=() if before is None else before.subjects)

    def _growth(self, stream: StreamView, now: float) -> float | None:
        """Return by how much a stream grows in a second; None if it was not looked at for long enough."""
        samples = self._samples.setdefault(stream.name, deque())
        if samples and stream.used < samples[-1][1]:
            samples.clear()
        if not samples or now - samples[-1][0] >= _EVERY_S:
            samples.append((now, stream.used))
        while samples[0][0] < now - _LONG_S:
            samples.popleft()
        first_at, first = samples[0] if samples else (now, stream.used)
        return (stream.used - first) / (now - first_at) if now - first_at >= _SHORT_S else None
