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
    """

    events: int


TermEnd = Drained | Unfinished | LeaseLost | StreamHealed | DatabaseChanged
"""The last three are raised by whoever finds out, and returned as they are."""
