"""What NATS has said before: since when something is missing, and what a stream took that is gone. Pure."""

from dataclasses import replace

from relay.operate.nats_status import NatsView, StreamView


class Memory:
    """Completes what NATS says now by what it said while somebody looked."""

    def __init__(self) -> None:
        self._away_since: float | None = None
        self._streams: dict[str, StreamView] = {}

    def completed(self, view: NatsView, now: float) -> NatsView:
        """Return a view with the times since when it is as it is, and with the subjects of streams that are gone."""
        if view.unreachable is not None:
            self._away_since = now if self._away_since is None else self._away_since
            return replace(view, since=self._away_since)
        self._away_since = None
        streams = tuple(self._known(one, now) for one in view.streams)
        self._streams = {one.name: one for one in streams}
        return replace(view, streams=streams)

    def pause(self) -> None:
        """Forget since when: nobody looks for a while. What streams took is still known."""
        self._away_since = None
        self._streams = {name: replace(one, since=None) for name, one in self._streams.items()}

    def _known(self, stream: StreamView, now: float) -> StreamView:
        before = self._streams.get(stream.name)
        if stream.missing is None:
            return stream
        since = now if before is None or before.since is None else before.since
        return replace(stream, since=since, subjects=() if before is None else before.subjects)
