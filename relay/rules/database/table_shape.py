"""What the table of events must be, so that its rows can be read and marked. Pure: no I/O.

Statements name columns and rely on their types. If one is missing or of another type PostgreSQL refuses them, in words
that name an operator or a function and not the column.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

_TEXT = ("text", "character varying", "character")
_TIME = ("timestamp with time zone", "timestamp without time zone")
_NUMBER = ("integer", "bigint", "smallint")
COLUMNS = {
    "seq": ("bigint", "integer"),
    "id": ("uuid",),
    "topic": _TEXT,
    "key": _TEXT,
    "payload": (),
    "headers": ("jsonb", "json", "text"),
    "created_at": _TIME,
    "delivered_at": _TIME,
    "stream": _TEXT,
    "stream_seq": ("bigint",),
    "attempts": _NUMBER,
    "retry_at": _TIME,
    "dead_at": _TIME,
    "last_error": _TEXT,
    "discarded_at": _TIME,
    "dead_copied_at": _TIME,
    "failure_class": _TEXT,
}
"""The types that each column may have, first that which `relay migrate` makes; the payload may be of any."""
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
_TABLES = ("r", "p")


class TableShape(NamedTuple):
    """What a table of events is made of.

    Attributes:
        kind: As PostgreSQL's catalogue has it: ``r`` for a table.
        types: The type of each column, by its name.
    """

    kind: str
    types: dict[str, str]

    @classmethod
    def read(cls, rows: Iterable[Sequence[Any]]) -> Self | None:
        """Return what the rows of ``ownership/columns`` or of a beat say; None if the table does not exist."""
        found = list(rows)
        if not found:
            return None
        return cls(found[0][0], {name: kind for _, name, kind in found if name is not None and kind is not None})

    @property
    def payload_type(self) -> str | None:
        """The type of the payload column; None without one."""
        return self.types.get("payload")

    def faults(self, table: str) -> list[str]:
        """Return what the relay cannot work with, nothing if the table is as it must be.

        Args:
            table: Its name.
        """
        if self.kind not in _TABLES:
            return [f"{table} is {_KINDS.get(self.kind, 'no table')}, and must be a table"]
        faults = []
        for name, types in COLUMNS.items():
            found = self.types.get(name)
            if found is None:
                faults.append(f"column {name} is missing")
            elif types and found not in types:
                faults.append(f"column {name} is {found}, and must be {types[0]}")
        return faults
