"""The rows that were in a foreign table before: what a backfill would copy, and the copy."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psycopg

from relay.operate.access import Reader
from relay.operate.adopt import script
from relay.operate.adopt.contents import SETTINGS
from relay.operate.adopt.judge import Facts, Refused, hidden_rows
from relay.operate.adopt.mapping import TIMES, Mapping, Source, order_of
from relay.operate.changes import Changer
from relay.postgres.server_error import words
from relay.text import iso


class Backfill(NamedTuple):
    """Which older rows are to be copied.

    Attributes:
        where: Which of them, as SQL over the row ``new``.
        unordered: Whether they may be copied in any order, if no column is known that orders them.
    """

    where: str
    unordered: bool = False


class Handed(NamedTuple):
    """A table was handed over from the reader of a publication, which has sent what was committed before.

    Attributes:
        at: When that was, Unix seconds.
        publication: From which.
        column: The time of each row; None if the mapping names none.
        lacking: How many rows that would be copied were written before; 0 without `column`.
    """

    at: float
    publication: str
    column: str | None
    lacking: int


class Older(NamedTuple):
    """What a backfill would copy.

    Attributes:
        rows: How many rows are meant.
        lacking: How many events of those the outbox does not hold: they would be copied, and sent.
        changed: How many of these have an id that the outbox holds with other contents.
        order: The column that orders them, None for none.
        tied: Whether several rows may have the same value of it.
        handed: None if the table was never taken out of a publication.
    """

    rows: int
    lacking: int
    changed: int
    order: str | None
    tied: bool
    handed: Handed | None

    @property
    def words(self) -> str:
        """What would be done, for people."""
        order = "in any order" if self.order is None else f"in the order of {self.order}"
        ties = f" (those of the same {self.order} in any order)" if self.tied else ""
        return f"copy {self.lacking:,} of {self.rows:,} older rows, those that the outbox does not hold, {order}{ties}"

    @property
    def warnings(self) -> list[str]:
        """What an operator must know beforehand, for people."""
        return [one for one in (self._changed, self._sent) if one is not None]

    @property
    def _changed(self) -> str | None:
        if not self.changed:
            return None
        return (
            f"{self.changed:,} of the rows have an id that the outbox holds with other contents: each is taken for "
            "another event, and sent under a second id; if the rows or the options were changed since they were "
            "copied, they would be sent a second time: leave them out"
        )

    @property
    def _sent(self) -> str | None:
        handed = self.handed
        if handed is None or not self.lacking or (handed.column is not None and not handed.lacking):
            return None
        at = iso(handed.at)
        if handed.column is None:
            return (
                f"the reader of {handed.publication} has sent what was committed before {at}, when the table was "
                "handed over: those rows would be sent a second time, behind newer ones of their key, unless the "
                "condition leaves them out"
            )
        return (
            f"{handed.lacking:,} of the rows were written before {at}, when the table was handed over: the reader of "
            f"{handed.publication} has sent them, and they would be sent a second time, behind newer ones of their "
            f"key; leave them out, such as by: new.{handed.column} >= '{at}'"
        )


def look(changer: Changer, facts: Facts, mapping: Mapping, backfill: Backfill) -> Older:
    """Find out what a backfill would copy, in an open step, and change nothing.

    Args:
        mapping: One that is not refused.

    Raises:
        Refused: No order of the rows is known, a policy hides some of them, or PostgreSQL does not understand the
            condition.
    """
    if facts.hidden:
        hidden = hidden_rows(facts, "a backfill would leave them out")
        raise Refused(f"{hidden.seen}: {hidden.do}")
    _settle(changer)
    order = order_of(mapping, facts.source)
    if order is None and mapping.key is not None and not backfill.unordered:
        raise Refused(
            f"no column is known that orders the older rows of {facts.source.label}, and a table keeps its rows in no "
            "order: name one by --order-by, or the time of each row by --created-at; --unordered copies them in any "
            "order, so that events of a key may come before earlier ones"
        )
    try_out(changer, facts, mapping, backfill)
    handed = changer.rows("adopt/handed", (facts.source.label,))
    at, publication = handed[0] if handed else (None, "")
    times = [one for one in (mapping.created_at, order) if one and facts.source.columns[one] in TIMES]
    column = times[0] if times else None
    text = script.count(mapping, facts.source, facts.outbox, changer.tables, backfill.where, column, at)
    with understood(facts.source):
        ((rows, lacking, before, changed),) = changer.cursor.execute(text.encode()).fetchall()
    told = None if at is None else Handed(at, publication, column, before)
    return Older(rows, lacking, changed, order, order is not None and order not in facts.source.drawn, told)


def copy(changer: Changer, facts: Facts, mapping: Mapping, backfill: Backfill | None) -> int:
    """Copy older rows, in an open step; return how many were copied.

    Raises:
        Refused: PostgreSQL does not understand the condition, for some row of the table.
    """
    if backfill is None:
        return 0
    text = script.backfill(mapping, facts.source, facts.outbox, changer.tables, backfill.where)
    _settle(changer)
    with understood(facts.source):
        return changer.cursor.execute(text.encode()).rowcount


def _settle(changer: Changer) -> None:
    """Let rows be read as the trigger reads them, and refused if a policy would hide some; of this transaction."""
    for name, value in {**SETTINGS, "row_security": "off"}.items():
        changer.cursor.execute("SELECT set_config($1, $2, true)", (name, value))


def try_out(changer: Changer, facts: Facts, mapping: Mapping, backfill: Backfill | None = None) -> None:
    """Let PostgreSQL plan what the mapping says, in an open step; it changes nothing.

    Raises:
        Refused: PostgreSQL does not understand it.
    """
    where = None if backfill is None else backfill.where
    text = script.backfill(mapping, facts.source, facts.outbox, changer.tables, where)
    with understood(facts.source):
        changer.cursor.execute(b"EXPLAIN " + text.encode())


def mapped(reader: Reader, mapping: Mapping, source: Source) -> list[tuple[str, str | None]]:
    """Return the topic and key that the mapping makes of at most 1,000 rows.

    Raises:
        Refused: PostgreSQL does not understand the mapping.
    """
    with understood(source):
        return reader.cursor.execute(script.sample(mapping, source, reader.tables).encode()).fetchall()


@contextmanager
def understood(source: Source) -> Iterator[None]:
    """Raise `Refused` for SQL of an operator that PostgreSQL does not take; a missing right is not its fault.

    Raises:
        Refused: PostgreSQL does not understand it.
    """
    try:
        yield
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException):
        raise
    except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError) as error:
        raise Refused(
            f"PostgreSQL does not understand what was given: {words(error)}: a condition, --when and --topic-sql are "
            f"SQL over the row `new` of {source.label}, whose columns are {', '.join(source.columns)}"
        ) from error
