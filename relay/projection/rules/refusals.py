"""What a refusal of the read model's database means, and how much may be parked. Pure: no I/O.

| class | what is done |
|---|---|
| outage | rolled back and tried again, for ever; nothing is parked |
| configuration | the projection waits and tries slowly; its status says why |
| conflict | one statement met a row twice: the batch is applied event by event |
| poison | the batch is halved until one event is left, and that one is parked |

What is not in the table is taken for configuration: waiting loses nothing, parking might hide a fault of the whole
set-up behind thousands of events.
"""

from dataclasses import dataclass, field
from enum import StrEnum

MAX_KEYS = 100
MAX_EVENTS = 1_000
MAX_STREAK = 10
MAX_REASON = 500  # characters of a reason that are kept


class RefusalClass(StrEnum):
    """The classes; what each means stands in the module's table."""

    OUTAGE = "outage"
    CONFIGURATION = "configuration"
    CONFLICT = "conflict"
    POISON = "poison"


_EXACT = {
    "21000": RefusalClass.CONFLICT,  # a statement would change a row twice, or a subquery gave two rows
    "25006": RefusalClass.OUTAGE,  # read only: a standby, while a failover goes on
    "55P03": RefusalClass.OUTAGE,  # a lock was not to be had
}
_BY_CLASS = {
    "08": RefusalClass.OUTAGE,  # the connection
    "22": RefusalClass.POISON,  # data: a text that is no number, no JSON, no time
    "23": RefusalClass.POISON,  # a constraint
    "40": RefusalClass.OUTAGE,  # serialisation failure, deadlock
    "44": RefusalClass.POISON,  # a view's check option
    "53": RefusalClass.OUTAGE,  # disk, memory or connections used up
    "54": RefusalClass.POISON,  # larger than an index or a row can be
    "57": RefusalClass.OUTAGE,  # shut down, cancelled
    "58": RefusalClass.OUTAGE,  # the server's disk
    "P0": RefusalClass.POISON,  # raised by a function of the author's
    "XX": RefusalClass.OUTAGE,  # a fault inside the server
}


def classify(sqlstate: str | None) -> RefusalClass:
    """Return the class of an error of PostgreSQL.

    Args:
        sqlstate: Its five characters; None if the error came from the driver, as when the connection broke.
    """
    if sqlstate is None:
        return RefusalClass.OUTAGE
    found = _EXACT.get(sqlstate) or _BY_CLASS.get(sqlstate[:2])
    return found or RefusalClass.CONFIGURATION


@dataclass
class Breaker:
    """Counts what one partition has parked, and says when parking must end.

    Attributes:
        keys: The keys that wait, each with its number of events.
        keyless: Parked events without a key.
    """

    keys: dict[str, int] = field(default_factory=dict)
    keyless: int = 0
    _streak: set[str | None] = field(default_factory=set)
    _in_a_row: int = 0

    @property
    def events(self) -> int:
        """How many events are parked."""
        return sum(self.keys.values()) + self.keyless

    @property
    def streak(self) -> list[str | None]:
        """The keys that were refused since an event was applied; None stands for events without a key."""
        return list(self._streak)

    @property
    def in_a_row(self) -> int:
        """How many events of different keys were refused since an event was applied."""
        return self._in_a_row

    def copy(self) -> "Breaker":
        """Return a copy, to be changed while a transaction may still fail."""
        return Breaker(dict(self.keys), self.keyless, set(self._streak), self._in_a_row)

    def found(self, key: str | None, events: int) -> None:
        """Take in how many events of a key are parked, as it was read; None stands for events without a key."""
        if key is None:
            self.keyless = events
        else:
            self.keys[key] = events

    def parked(self, key: str | None) -> None:
        """Count one more event."""
        if key is None:
            self.keyless += 1
        else:
            self.keys[key] = self.keys.get(key, 0) + 1

    def refused(self, key: str | None) -> None:
        """Count an event that was refused by itself, and not only parked behind another one."""
        self.parked(key)
        if key is None or key not in self._streak:
            self._streak.add(key)
            self._in_a_row += 1

    def applied(self) -> None:
        """Note that an event was applied: what was refused before had a reason of its own."""
        self._streak.clear()
        self._in_a_row = 0

    def reason(self) -> str | None:
        """Return why no more may be parked, None if it may."""
        if self._in_a_row >= MAX_STREAK:
            return f"{self._in_a_row} events of different keys were refused in a row"
        if len(self.keys) + self.keyless > MAX_KEYS:
            return f"more than {MAX_KEYS} keys have parked events"
        if self.events > MAX_EVENTS:
            return f"more than {MAX_EVENTS:,} events are parked"
        return None
