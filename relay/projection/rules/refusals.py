"""What a refusal of the read model's database means, and how much may be parked. Pure: no I/O.

| class | what is done |
|---|---|
| outage | rolled back and tried again, for ever; nothing is parked |
| configuration | the projection waits and tries slowly; its status says why |
| conflict | one statement met a row twice: the batch is applied event by event |
| poison | the batch is halved until one event is left, and that one is parked |

A cancelled statement (57014) is an outage anywhere else. While events are applied it is halved like poison, and the one
that is left is parked if it was cancelled twice and another event was applied in between.

An error of no class is taken for configuration until there is evidence that the event is at fault (`judge`): waiting
loses nothing, parking might hide a fault of the whole set-up behind thousands of events.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

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
    # A file that a statement names is not there, or is: the name may be a value.
    "58P01": RefusalClass.CONFIGURATION,
    "58P02": RefusalClass.CONFIGURATION,
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
MISSING_RIGHT = "42501"
_OF_NAMES = frozenset({"42", "3F"})  # syntax, names and types; schemas
_INTERNAL = "XX"
_OF_FILES = frozenset({"58P01", "58P02"})
_OF_ONE = frozenset({"25006", "53200", "53400", "57P01", "57P02"})
_FIXED_WORDS = frozenset({"21000", "22012"})  # two rows where one is due, a division by zero


def classify(sqlstate: str | None) -> RefusalClass:
    """Return the class of an error of PostgreSQL.

    Args:
        sqlstate: Its five characters; None if the error came from the driver, as when the connection broke.
    """
    if sqlstate is None:
        return RefusalClass.OUTAGE
    found = _EXACT.get(sqlstate) or _BY_CLASS.get(sqlstate[:2])
    return found or RefusalClass.CONFIGURATION


def may_be_of_one_event(sqlstate: str | None) -> bool:
    """Return whether an outage may be the doing of one event, which only the others can tell.

    It ends its session, makes its transaction read only, takes too much memory, or meets a fault of the server's. A
    lock, a deadlock and a full disk are not: what needs neither row nor room goes on meanwhile, and they end.
    """
    return classify(sqlstate) is RefusalClass.OUTAGE and (
        sqlstate is None or sqlstate in _OF_ONE or sqlstate[:2] in ("08", _INTERNAL)
    )


class Evidence(NamedTuple):
    """What is known of a statement that failed at one event.

    Attributes:
        raised: Whether a function of the author's chose this error, by RAISE.
        in_function: Whether it comes from a function or a trigger, into which a plan of the statement does not look.
        is_planned: Whether PostgreSQL plans the statement without any event: its tables, columns, functions and
            rights are there. None: the statement is not known, as of a handler in Python.
        others_apply: Whether the same handler applied another event in the same transaction.
    """

    raised: bool = False
    in_function: bool = False
    is_planned: bool | None = None
    others_apply: bool = False


def is_undecided(sqlstate: str | None) -> bool:
    """Return whether only evidence can tell a fault of the set-up from a reason of the event's own.

    `to_tsquery` reports a text that it cannot read as a syntax error, and ``::regclass`` a name that is not there as a
    missing table. A right that is missing is never the event's fault.
    """
    return classify(sqlstate) is RefusalClass.CONFIGURATION and sqlstate != MISSING_RIGHT


def judge(sqlstate: str | None, evidence: Evidence) -> RefusalClass:
    """Return the class of an error, with evidence for one that is undecided.

    It is the event's own reason if the author raised it, if the same handler applies other events, or if it speaks of
    a name or of syntax although the whole statement, outside functions, is sound.
    """
    if not is_undecided(sqlstate):
        return classify(sqlstate)
    if evidence.raised:
        return RefusalClass.POISON
    if evidence.is_planned is False:
        return RefusalClass.CONFIGURATION
    is_of_names = sqlstate is not None and sqlstate[:2] in _OF_NAMES
    is_sound = bool(evidence.is_planned) and is_of_names and not evidence.in_function
    return RefusalClass.POISON if is_sound or evidence.others_apply else RefusalClass.CONFIGURATION


def may_be_told(sqlstate: str | None, *, raised: bool, reads_values: bool = False) -> bool:
    """Return whether what PostgreSQL says of an error holds no value of an event, and may be logged.

    Args:
        raised: Whether a function of the author's chose the words.
        reads_values: Whether an error of no class may come from a value. Of a handler's statement only those are left
            that do not (`judge`); of the query of a view nobody has asked.
    """
    if (
        raised
        or sqlstate in _OF_FILES
        or (sqlstate or "")[:2] == _INTERNAL
        or (reads_values and is_undecided(sqlstate))
    ):
        return False
    if sqlstate in _FIXED_WORDS:
        return True
    return classify(sqlstate) in (RefusalClass.OUTAGE, RefusalClass.CONFIGURATION)


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
