"""What an adoption that stands in the database is worth. Pure: no I/O."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from relay.rules.database.uncopied import Uncopied, uncopied_of
from relay.text import quoted

FORM = 2
"""Of the function that is installed now. In form 1 a row whose id the outbox holds is left, whatever it contains."""

# Types whose text no setting of a session changes.
_SETTLED = {
    "uuid", "text", "character varying", "character", "smallint", "integer", "bigint", "numeric", "boolean",
    "json", "jsonb",
}  # fmt: skip
# What the function reads of the new row, once its texts are left out: a topic may say ``new.x`` as well.
_TEXT = re.compile(r"'(?:[^']|'')*'")
_COLUMN = re.compile(r"\bnew\.(?:\"((?:[^\"]|\"\")+)\"|([A-Za-z_][A-Za-z_0-9$]*))", re.IGNORECASE)
_AS_TEXT = re.compile(rf"{_COLUMN.pattern}::text\b", re.IGNORECASE)


class Carried(NamedTuple):
    """How a publication carried the foreign table, before the table was handed over.

    Attributes:
        publication: Its name.
        columns: Its list of columns, empty for all of them.
        rows: Its row filter in SQL, None for every row.
    """

    publication: str
    columns: tuple[str, ...] = ()
    rows: str | None = None

    @property
    def clause(self) -> str:
        """What follows the table's name if it is put back, with a blank before it; empty if all of it was carried."""
        columns = f" ({', '.join(map(quoted, self.columns))})" if self.columns else ""
        return columns + (f" WHERE ({self.rows})" if self.rows is not None else "")


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
        carried: How the publication carried the table from which it was taken, None if it was taken from none.
        form: Of its function, see `FORM`.
        virtual: Columns that the function reads and PostgreSQL does not compute for it.
        uncopied: What keeps rows from the trigger.
        unsettled: Columns that the function reads, whose text depends on the session that inserts.
        shared: What the publication, from which it was taken, sends of it again; only looked for on request.
        gone: Whether its trigger was dropped, alone or with the table.
        trigger: Its trigger, unquoted.
        function: The function of the trigger in SQL.
        former: What the table was called when it was installed, for people; None if it has that name still.
        purges: Whether the function deletes rows of the table that has the former name.
    """

    table: str
    source: str
    enabled: bool
    outbox: str
    preset: str
    unchanged: bool
    missing: tuple[str, ...]
    carried: Carried | None = None
    form: int = FORM
    virtual: tuple[str, ...] = ()
    uncopied: tuple[Uncopied, ...] = ()
    unsettled: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    gone: bool = False
    trigger: str = ""
    function: str = ""
    former: str | None = None
    purges: bool = False

    @property
    def sound(self) -> bool:
        """Whether each new row is copied as it was agreed."""
        whole = not any((self.missing, self.virtual, self.missed, self.purges))
        return self.enabled and self.unchanged and whole

    @property
    def missed(self) -> list[Uncopied]:
        """What keeps rows from the trigger for sure."""
        return [one for one in self.uncopied if one.sure]

    @property
    def doubts(self) -> list[Uncopied]:
        """What may keep rows from the trigger."""
        return [one for one in self.uncopied if not one.sure]

    @property
    def state(self) -> str:
        """What it does now, for people."""
        if self.gone:
            return "its trigger is gone, alone or with the table: nothing is copied"
        if not self.enabled:
            return "its trigger is disabled: nothing is copied"
        if self.purges:
            return (
                f"each insert fails, or deletes from another table: the table was {self.former} when it was installed"
            )
        if self.missing:
            return f"each insert fails: the table has no column {', '.join(self.missing)}"
        if self.virtual:
            return f"new rows are copied without column {', '.join(self.virtual)}: virtual, so a trigger finds no value"
        if not self.unchanged:
            return "its function was changed by another hand"
        if self.missed:
            return f"not each new row is copied: {'; '.join(one.words for one in self.missed)}"
        buts = ["one whose id the outbox holds"] if self.form < FORM else []
        texts = f"the text of column {', '.join(self.unsettled)} depends on the session that inserts the row"
        name = f"the table was {self.former} when it was installed"
        more = [
            *([name] if self.former is not None else []),
            *([texts] if self.unsettled else []),
            *(one.words for one in self.doubts),
        ]
        if self.carried is not None and self.shared:
            again = f"publication {self.carried.publication} sends {', '.join(self.shared)} again"
            more.append(f"{again}, so its reader gets the same rows")
        return "; ".join([" but ".join(["copies each new row", *buts]), *more])

    @property
    def outdated(self) -> bool:
        """Whether another installation would make it copy rows that it leaves, or with one text in each session."""
        return self.form < FORM or bool(self.unsettled)


class Installed(NamedTuple):
    """``adopt/installed``: a trigger that copies the rows of a foreign table, as it stands, or what is left of one.

    Attributes:
        schema: Of the foreign table, unquoted; None if the trigger is gone.
        name: Of the foreign table, unquoted; None if the trigger is gone.
        enabled: Whether the trigger fires.
        comment: Of the trigger or its function, as it was installed.
        function: The body of its function, as it is now.
        columns: Those of the foreign table now, with their types, as JSON.
        virtual: Those of them that are generated and not stored.
        uncopied: What keeps rows from the trigger, as JSON.
        pinned: Whether the function sets how values are written as text.
        trigger: Its name, unquoted.
        called: The function's name in SQL.
    """

    schema: str | None
    name: str | None
    enabled: bool
    comment: str
    function: str
    columns: str = "{}"
    virtual: Sequence[str] = ()
    uncopied: str = "[]"
    pinned: bool = True
    trigger: str | None = None
    called: str = ""


def adoption_of(row: Installed) -> Adoption:
    """Return an adoption."""
    noted = _noted(row.comment)
    types = dict(json.loads(row.columns))
    then = _source(noted)
    is_gone = row.schema is None or row.name is None
    schema, name = (row.schema, row.name) if row.schema is not None and row.name is not None else then
    # What an adoption of an earlier version does not say of its table is taken to be as it was.
    renamed = not is_gone and "source" in noted and (schema, name) != then
    return Adoption(
        table=f"{schema}.{name}",
        source=f"{quoted(schema)}.{quoted(name)}",
        enabled=row.enabled,
        outbox=_text(noted, "outbox") or "unknown",
        preset=_text(noted, "preset") or "unknown",
        unchanged=noted.get("function_sha256") == hashlib.sha256(row.function.encode()).hexdigest(),
        missing=() if is_gone else tuple(one for one in columns_of(row.function) if one not in types),
        virtual=tuple(one for one in columns_of(row.function) if one in row.virtual),
        uncopied=uncopied_of(row.uncopied),
        unsettled=() if row.pinned else tuple(unsettled_of(row.function, types)),
        carried=_carried(noted),
        form=form if isinstance(form := noted.get("form"), int) else 1,
        gone=is_gone,
        trigger=row.trigger or "",
        function=row.called,
        former=".".join(then) if renamed else None,
        purges=renamed and f"{quoted(then[0])}.{quoted(then[1])} WHERE" in row.function,
    )


def _noted(comment: str) -> dict[str, object]:
    """Return what the installation has written down; nothing if somebody has changed it since."""
    try:
        noted = json.loads(comment)
    except ValueError:
        return {}
    return dict(noted)


def _text(noted: dict[str, object], name: str) -> str | None:
    value = noted.get(name)
    return value if isinstance(value, str) else None


def _source(noted: dict[str, object]) -> tuple[str, str]:
    """Return schema and name of the foreign table, as they were when it was installed."""
    match noted.get("source"):
        case [str(schema), str(name)]:
            return schema, name
        case _:
            return "unknown", "unknown"


def _carried(noted: dict[str, object]) -> Carried | None:
    publication, columns = _text(noted, "publication"), noted.get("publication_columns")
    if publication is None:
        return None
    named = [one for one in columns if isinstance(one, str)] if isinstance(columns, list) else []
    return Carried(publication, tuple(named), _text(noted, "publication_rows"))


def unsettled_of(function: str, types: Mapping[str, str]) -> list[str]:
    """Return the columns of the new row that a function takes as text, and whose text depends on the session.

    Args:
        function: Its body.
        types: Of the columns of the table.
    """
    return [one for one in _found(_AS_TEXT, function) if one in types and types[one] not in _SETTLED]


def columns_of(function: str) -> list[str]:
    """Return the columns of the new row that the body of a trigger's function reads, in their order, each once."""
    return _found(_COLUMN, function)


def _found(pattern: re.Pattern[str], function: str) -> list[str]:
    found = pattern.finditer(_TEXT.sub("''", function))
    names = [one[2].lower() if one[1] is None else one[1].replace('""', '"') for one in found]
    return list(dict.fromkeys(names))
