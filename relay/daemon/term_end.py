"""How a term ends: a closed union, for the replica to match."""

import logging
from dataclasses import dataclass

from relay.errors import DatabaseChanged, LeaseLost, StreamHealed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drained:
    """Everything that was sent is settled, and the shards are still ours."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The deadline passed. The shards are still ours; what was in flight stays pending and is sent again.

    Attributes:
        events: How many were in flight.
        written: Whether PostgreSQL has confirmed all that was to be written of the others.
    """

    events: int
    written: bool

    def __str__(self) -> str:
        """Return what is left, in words."""
        told = []
        if self.events:
            told.append(f"{self.events} events were in flight at the deadline; they stay pending and are sent again")
        if not self.written:
            told.append(
                "PostgreSQL has not confirmed by the deadline all that was written; if a mark is missing, the next"
                " relay finds the event in its stream"
            )
        return ". ".join(told)


TermEnd = Drained | Unfinished | LeaseLost | StreamHealed | DatabaseChanged
"""The last three are raised by whoever finds out, and returned as they are."""
