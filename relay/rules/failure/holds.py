"""Circuit breakers: what waits because the broker, a stream or a subject takes no events now. Pure.

A hold is opened by a failure that is not the event's own fault. Its events are parked, one of them is sent as a
probe when its pause is over, and the first that is acknowledged ends the hold. No attempt is ever counted.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count, islice
from typing import NamedTuple

from relay.event import Event
from relay.outcomes import FailureClass
from relay.rules.failure.retry_backoff import backoff

# So many probes are sent at a time, which is four times a second.
_PROBES = 25
_PROBES_WHILE_HOLDS_END = 250


@dataclass(slots=True)
class Hold:
    """One hold.

    Attributes:
        scope: ``stream NAME`` or ``subject NAME``.
        failure_class: Why it is held.
        reason: What the broker said last.
        since: When it was opened, monotonic seconds.
        probes: How many probes have failed.
        probe_at: When the next probe is sent, monotonic seconds.
        probing: The seq of the probe in flight.
        parked: What waits, in the order in which it came.
        was_outage: It is held because of an outage, or was before its class changed.
    """

    scope: str
    failure_class: FailureClass
    reason: str
    since: float
    probes: int = 0
    probe_at: float = 0.0
    probing: int | None = None
    parked: deque[Event] = field(default_factory=deque)
    was_outage: bool = False


# When, a number that tells entries of one moment apart, and the hold.
_Due = tuple[float, int, Hold]


class Held(NamedTuple):
    """What is held of one class.

    Attributes:
        holds: How many holds are open.
        events: How many events are parked in them.
    """

    holds: int
    events: int


class Holds:
    """All holds that are open.

    Args:
        base_s: Pause before the first probe, seconds; it doubles with each probe that fails.
        max_s: Longest pause, seconds.

    What is asked for each event, or a few times a second, takes the same time, however many holds are open.

    Attributes:
        open: The open holds by scope. To be read only; a plain dict, since it is asked about for each event.
        parked_events: How many events wait in holds.
        parked_bytes: How many bytes these take.
    """

    def __init__(self, *, base_s: float, max_s: float) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self.open: dict[str, Hold] = {}
        # The holds whose probes are not answered, by the seq of the probe.
        self._probing: dict[int, Hold] = {}
        # The open holds of each class by scope, and how many events are parked in them.
        self._of_class: dict[FailureClass, dict[str, Hold]] = {one: {} for one in FailureClass}
        self._events_of: dict[FailureClass, int] = dict.fromkeys(FailureClass, 0)
        # When a hold is to be probed, in heaps: an entry for each in which something waits and that has no probe in
        # flight. What has become of a hold since it was entered is seen when its entry comes up.
        self._streams_due: list[_Due] = []
        self._subjects_due: list[_Due] = []
        self._entries = count()
        self.parked_events = 0
        self.parked_bytes = 0
        # Whether a hold has ended since probes were last taken.
        self._has_ended = False

    def park(self, hold: Hold, event: Event) -> None:
        """Let an event wait in a hold."""
        hold.parked.append(event)
        self._count(hold, 1, event.size)
        if len(hold.parked) == 1:
            self._schedule(hold)

    def unpark(self, unwanted: Callable[[Event], bool]) -> list[Event]:
        """Take events out of their holds; a hold that nothing waits in any more, not even a probe, is closed.

        Args:
            unwanted: Says of an event whether it is to be taken out.
        """
        taken: list[Event] = []
        for hold in list(self.open.values()):
            out = [event for event in hold.parked if unwanted(event)]
            if not out:
                continue
            hold.parked = deque(event for event in hold.parked if not unwanted(event))
            self._count(hold, -len(out), -sum(event.size for event in out))
            taken += out
            if not hold.parked and hold.probing is None:
                self.end(hold.scope)
        return taken

    def probes(self) -> int:
        """Return how many probes were sent and are not answered."""
        return len(self._probing)

    def held(self) -> dict[FailureClass, Held]:
        """Return what is held of each class of which anything is."""
        return {one: Held(len(holds), self._events_of[one]) for one, holds in self._of_class.items() if holds}

    def some(self, failure_class: FailureClass, most: int) -> list[Hold]:
        """Return holds of a class, those that are held longest so: `most` at most."""
        return list(islice(self._of_class[failure_class].values(), most))

    def find(self, *scopes: str) -> Hold | None:
        """Return the first hold that is open on one of the scopes."""
        for scope in scopes:
            hold = self.open.get(scope)
            if hold is not None:
                return hold
        return None

    def fail(
        self, scope: str, failure_class: FailureClass, reason: str, event: Event, now: float, chance: float
    ) -> tuple[Hold, bool]:
        """Open a hold because an event failed, or keep it open; the event is still to be parked.

        Only the probe lengthens the pause: all other events in flight fail as well.

        Returns:
            The hold, and whether it is new or its class has changed, which is worth a log line.
        """
        hold = self.open.get(scope)
        is_new = hold is None or hold.failure_class is not failure_class
        if hold is None:
            hold = Hold(scope, failure_class, reason, now)
            hold.probe_at = now + backoff(1, self._base_s, self._max_s, chance)
            self._enter(hold)
        elif is_new:
            self._leave(hold)
            hold.failure_class = failure_class
            self._enter(hold)
        hold.reason = reason
        hold.was_outage |= failure_class is FailureClass.OUTAGE
        probed = self._probing.pop(event.seq, None)
        if probed is not None and probed is not hold:
            # The probe of one hold ran into another: what waited there waits here now.
            self._leave(probed)
            hold.was_outage |= probed.was_outage
            is_first = not hold.parked
            hold.parked.extend(probed.parked)
            self._events_of[failure_class] += len(probed.parked)
            if is_first:
                self._schedule(hold)
        if hold.probing == event.seq:
            hold.probing = None
            hold.probes += 1
            hold.probe_at = now + backoff(hold.probes + 1, self._base_s, self._max_s, chance)
            self._schedule(hold)
        return hold, is_new

    def _enter(self, hold: Hold) -> None:
        self.open[hold.scope] = self._of_class[hold.failure_class][hold.scope] = hold
        self._events_of[hold.failure_class] += len(hold.parked)

    def _leave(self, hold: Hold) -> None:
        del self.open[hold.scope], self._of_class[hold.failure_class][hold.scope]
        self._events_of[hold.failure_class] -= len(hold.parked)

    def _count(self, hold: Hold, events: int, size: int) -> None:
        self.parked_events += events
        self.parked_bytes += size
        self._events_of[hold.failure_class] += events

    def _schedule(self, hold: Hold) -> None:
        """Enter when a hold is to be probed, if there is anything to probe it with."""
        if hold.parked and hold.probing is None:
            due = self._subjects_due if hold.scope.startswith("subject ") else self._streams_due
            heappush(due, (hold.probe_at, next(self._entries), hold))

    def due(self, now: float) -> list[Event]:
        """Return the probes that are to be sent now, taken out of their holds.

        However many holds are open, few are probed at a time, so that probes take little from what flows. Those of
        streams go first, then those that have waited longest. As long as holds end these are more.
        """
        most = _PROBES_WHILE_HOLDS_END if self._has_ended else _PROBES
        self._has_ended = False
        probes: list[Event] = []
        for heap in (self._streams_due, self._subjects_due):
            while heap and heap[0][0] <= now and len(probes) < most:
                entered_for, _, hold = heappop(heap)
                is_current = self.open.get(hold.scope) is hold and hold.probe_at == entered_for
                if not is_current or not hold.parked or hold.probing is not None:
                    continue
                probe = hold.parked.popleft()
                hold.probing = probe.seq
                self._probing[probe.seq] = hold
                self._count(hold, -1, -probe.size)
                probes.append(probe)
        return probes

    def probed_by(self, seq: int) -> Hold | None:
        """Return the hold whose probe an event is."""
        return self._probing.get(seq)

    def put_off(self, seq: int, now: float) -> None:
        """Send another probe later: this one waits for something else."""
        hold = self._probing.pop(seq, None)
        if hold is not None:
            hold.probing = None
            hold.probe_at = now + self._base_s
            self._schedule(hold)

    def wait_again(self, probe: Event, now: float) -> bool:
        """Let a probe wait in its hold again, that was not sent; return False if that hold is over."""
        hold = self._probing.get(probe.seq)
        if hold is None:
            return False
        self.put_off(probe.seq, now)
        self.park(hold, probe)
        return True

    def end(self, scope: str) -> Hold | None:
        """Close a hold; what is parked in it may be sent again."""
        hold = self.open.get(scope)
        if hold is not None:
            self._has_ended = True
            self._close(hold)
        return hold

    def end_all(self) -> list[Hold]:
        """Close every hold: over a new connection every answer may differ."""
        ended = list(self.open.values())
        for hold in ended:
            self._close(hold)
        self._streams_due.clear()
        self._subjects_due.clear()
        return ended

    def _close(self, hold: Hold) -> None:
        self._leave(hold)
        if hold.probing is not None:
            self._probing.pop(hold.probing, None)
        self.parked_events -= len(hold.parked)
        self.parked_bytes -= sum(event.size for event in hold.parked)
