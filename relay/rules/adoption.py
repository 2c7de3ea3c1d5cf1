"""What an adoption that stands in the database is worth. Pure: no I/O."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from relay.text import quoted

# What the function reads of the new row, once its texts are left out: a topic may say ``new.x`` as well.
_TEXT = re.compile(r"'(?:[^']|'')*'")
_COLUMN = re.compile(r"\bnew\.(?:\"((?:[^\"]|\"\")+)\"|([A-Za-z_][A-Za-z_0-9$]*))", re.IGNORECASE)


class Adoption(NamedTuple):
    """An adoption as it stands in the database.

    Attributes:
        table: The foreign table, for people.
        source: The same in SQL.
        enabled: Whether its trigger fires.
        outbox: Where it copies to, in SQL.
        preset: With which it was installed.
        unchanged: Whether its function is the one that was installed.
        missing: Columns that the function reads and the table has no longer: each insert into it fails.
    """

    table: str
    source: str
    enabled: bool
    outbox: str
    preset: str
    unchanged: bool
    missing: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether each new row is copied as it was agreed."""
        return self.enabled and self.unchanged and not self.missing

    @property
    def state(self) -> str:
        """What it does now, for people."""
        if not self.enabled:
            return "its trigger is disabled: nothing is copied"
        if self.missing:
            return f"each insert fails: the table has no column {', '.join(self.missing)}"
        return "copies each new row" if self.unchanged else "its function was changed by another hand"


def adoption_of(schema: str, name: str, enabled: bool, comment: str, function: str, columns: Sequence[str]) -> Adoption:
    """Return an adoption.

    Args:
        schema: Of the foreign table, unquoted.
        name: Of the foreign table, unquoted.
        enabled: Whether its trigger fires.
        comment: Of the trigger, as it was installed.
        function: The body of the trigger's function, as it is now.
        columns: Those of the foreign table now.
    """
    noted = _noted(comment)
    return Adoption(
        table=f"{schema}.{name}",
        source=f"{quoted(schema)}.{quoted(name)}",
        enabled=enabled,
        outbox=noted.get("outbox", "unknown"),
        preset=noted.get("preset", "unknown"),
        unchanged=noted.get("function_sha256") == hashlib.sha256(function.encode()).hexdigest(),
        missing=tuple(one for one in columns_of(function) if one not in columns),
    )


def _noted(comment: str) -> dict[str, str]:
    """Return what the installation has written down; nothing if somebody has changed it since."""
    try:
        noted = json.loads(comment)
    except ValueError:
        return {}
    return {name: value for name, value in noted.items() if isinstance(value, str)}


def columns_of(function: str) -> list[str]:
    """Return the columns of the new row that the body of a trigger's function reads, in their order, each once."""
    found = _COLUMN.finditer(_TEXT.sub("''", function))
    names = [one[2].lower() if one[1] is None else one[1].replace('""', '"') for one in found]
    return list(dict.fromkeys(names))
