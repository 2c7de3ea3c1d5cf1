"""Find the event that ends the connection each time. Pure: no I/O, the clock is handed in.

A server ends the connection over one message that it cannot read or will not take, and does not say which one. The
events that were in flight then are the suspects. One such end is tolerated: networks fail. If it happens again before
all of them are answered, they are sent in groups, each answered before the next. The group that is in flight at the
next end is divided. An event that is alone at such an end is kept aside while all others flow, and then sent alone
again.

An event is given up after `MOST_ENDS` such ends, and only if there is proof: others were stored in between, or the
server's error is about a message. If the suspects of an end are all answered, or nothing was in flight, no event caused
the end. Then the ends of the events that are kept aside are counted from 0 again.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from relay.event import Event

MOST_ENDS = 3
# Into how many groups the suspects are divided.
_PART = 8
# How long others flow over a standing connection before the next event that is kept aside is sent, seconds; doubled
# with each end.
_CONTROL_S = 1.0
_LONGEST_CONTROL_S = 60.0

_OF_A_MESSAGE = re.compile(
    r"maximum payload|control line|parser error|protocol (error|operation)|publish subject|message header",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Aside:
    """An event that was alone when connections ended, how often, and whether others were answered since."""

    event: Event
    ends: int
    others_stored: bool = False


class ConnectionSuspects:
    """What is known of the events that were in flight when a connection ended."""

    def __init__(self) -> None:
        self._suspects: set[int] = set()
        self._group = 0
        self._aside: dict[int, _Aside] = {}
        self._retried: int | None = None
        self._standing_since: float | None = None

    def __bool__(self) -> bool:
        """Report whether answers have to be noted: events are suspected or kept aside."""
        return bool(self._suspects or self._aside)

    @property
    def isolating(self) -> bool:
        """Whether events are sent group by group now, one by one within a group."""
        return bool(self._group)

    def allowance(self, in_flight: int) -> int | None:
        """Return how many events may be taken now; None: as many as there is room for."""
        if not self._group:
            return None
        return 0 if in_flight else self._group

    def stands(self, now: float) -> None:
        """Note that a new connection stands."""
        self._standing_since = now

    def answered(self, seqs: Iterable[int], *, proven: bool = True) -> None:
        """Note events that were answered, or are no longer in flight for another reason.

        Args:
            seqs: Which.
            proven: Whether the server answered: it took the message, and the connection stood.
        """
        for seq in seqs:
            if seq in self._suspects:
                self._suspects.discard(seq)
                if seq == self._retried:
                    del self._aside[seq]
                    self._retried = None
                elif not self._suspects:
                    self._reset_ends()
            if proven:
                for aside in self._aside.values():
                    aside.others_stored = True
        if not self._suspects:
            self._group = 0

    def _reset_ends(self) -> None:
        for aside in self._aside.values():
            aside.ends = 0

    def ended(self, in_flight: Collection[Event], reason: str) -> tuple[list[Event], list[Event]]:
        """Note the end of the connection.

        Args:
            in_flight: What was sent and is not answered.
            reason: The server's words, or what else is known.

        Returns:
            The events to keep aside, whose keys wait; and those to give up.
        """
        self._standing_since = None
        if not in_flight:
            self._reset_ends()
            return [], []
        seqs = {event.seq for event in in_flight}
        again = self._suspects & seqs
        if not again:
            if self._retried is not None:
                # It was not sent yet, and goes with the others now.
                del self._aside[self._retried]
                self._suspects, self._group, self._retried = set(), 0, None
            # Those that were not sent since are still suspects: of two that end it each would clear the other.
            self._suspects |= seqs
            return [], []
        self._suspects = again
        if len(again) > 1:
            self._group = max(1, len(again) // _PART)
            return [], []
        (seq,) = again
        if len(seqs) > 1:
            self._group = 1
            return [], []
        (event,) = in_flight
        self._suspects, self._group, self._retried = set(), 0, None
        aside = self._aside.setdefault(seq, _Aside(event, 0))
        aside.ends += 1
        proven = aside.others_stored or bool(_OF_A_MESSAGE.search(reason))
        if aside.ends >= MOST_ENDS and proven:
            del self._aside[seq]
            return [], [event]
        aside.others_stored = False
        return [event], []

    def next_retry(self, now: float) -> Event | None:
        """Return an event that is kept aside and is to be sent alone now; None if there is none, or it is too early."""
        if self._suspects or self._standing_since is None:
            return None
        for seq, aside in self._aside.items():
            control_s = min(_CONTROL_S * 2.0 ** min(aside.ends, 30), _LONGEST_CONTROL_S)
            if now - self._standing_since >= control_s:
                self._suspects, self._group, self._retried = {seq}, 1, seq
                return aside.event
        return None
