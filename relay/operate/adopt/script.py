"""The SQL of an adoption, filled into the files of ``sql/adopt``. Pure but for reading those files."""

import hashlib
import json
import re
from typing import NamedTuple

from relay.operate.adopt.contents import named, others, same, second_id, settings
from relay.operate.adopt.mapping import Mapping, Source, conditions, literal, order_of, values
from relay.postgres.tables import Tables
from relay.rules.database.adoption import FORM, Carried
from relay.text import quoted

MARK = '{"adopted_by": "outbox-relay"'


class Names(NamedTuple):
    """What an adoption is called in the database: one outbox and one foreign table have one adoption.

    Attributes:
        trigger: Unquoted, as the outbox says; several outboxes may adopt one table.
        function: In SQL, with the schema of the outbox.
    """

    trigger: str
    function: str


def names(source: Source, outbox: str, tables: Tables) -> Names:
    """Return the names of an adoption.

    Args:
        outbox: The outbox in SQL, with its schema.
    """
    digest = hashlib.sha256(f"{outbox} {source.label}".encode()).hexdigest()[:8]
    schema = outbox.rpartition(".")[0]
    return Names(f"{tables.base}_adopt", f"{schema}.{quoted(f'{tables.base}_adopt_{digest}')}")


def install(
    mapping: Mapping, source: Source, outbox: str, tables: Tables, preset: str, carried: Carried | None = None
) -> str:
    """Return the statements that begin an adoption; only for a mapping without faults.

    Args:
        carried: How the publication carried the table from which it is taken, to be written down.
    """
    own = names(source, outbox, tables)
    condition = conditions(mapping)
    made = values(mapping, source, tables.payload_type)
    purge = ""
    if mapping.purge:
        column = quoted(source.key_columns[0])
        purge = _filled(tables.file("adopt/purge"), source=source.sql, column=column) + "    "
    body = _filled(
        tables.file("adopt/body"),
        outbox=outbox,
        columns=", ".join(made),
        values=",\n            ".join(made.values()),
        second=second_id(mapping, source, tables.payload_type),
        others=others(mapping, "made"),
        named=named(mapping, source, tables.payload_type),
        same=same(mapping, source, tables.payload_type),
        purge=purge,
    )
    digest = hashlib.sha256(body.encode()).hexdigest()
    noted: dict[str, object] = {"outbox": outbox, "preset": preset, "form": FORM, "function_sha256": digest}
    noted["source"] = (source.schema, source.name)
    if carried is not None:
        noted["publication"] = carried.publication
        noted |= {"publication_columns": carried.columns} if carried.columns else {}
        noted |= {"publication_rows": carried.rows} if carried.rows is not None else {}
    pinned = settings(mapping, source, body)
    comment = json.dumps({"adopted_by": "outbox-relay", **noted})
    return _filled(
        tables.file("adopt/install"),
        function=own.function,
        body=body,
        settings="".join(f"\n    SET {name} = {literal(value)}" for name, value in pinned.items()),
        trigger=quoted(own.trigger),
        source=source.sql,
        when="" if condition is None else f"WHEN ({condition}) ",
        comment=literal(comment),
    )


def remove(source: Source, trigger: str, function: str, tables: Tables) -> str:
    """Return the statements that end an adoption.

    Args:
        trigger: Unquoted.
        function: In SQL. Both have their names of when the table may have had another one.
    """
    return _filled(tables.file("adopt/remove"), function=function, trigger=quoted(trigger), source=source.sql)


def drop_function(function: str, tables: Tables) -> str:
    """Return the statement that drops a function whose trigger is gone."""
    return _filled(tables.file("adopt/drop_function"), function=function)


def lock(source: Source, tables: Tables) -> str:
    """Return the statement that keeps writers out until the end of the transaction."""
    return _filled(tables.file("adopt/lock"), source=source.sql)


def backfill(mapping: Mapping, source: Source, outbox: str, tables: Tables, where: str | None) -> str:
    """Return the statement that copies older rows.

    Args:
        where: Which of them, as SQL over the row ``new``; None for all.
    """
    return _filled(
        tables.file("adopt/backfill"),
        outbox=outbox,
        columns=", ".join(values(mapping, source, tables.payload_type)),
        others=others(mapping, "older"),
        older=_older(mapping, source, outbox, tables, where),
        order="" if order_of(mapping, source) is None else "\nORDER BY older.place",
    )


def count(
    mapping: Mapping, source: Source, outbox: str, tables: Tables, where: str, column: str | None, at: float | None
) -> str:
    """Return the statement that counts what a backfill would copy.

    Args:
        where: As for `backfill`.
        column: The time of each row, None if there is none.
        at: Count the rows from before that moment (Unix seconds) as well; None counts none.
    """
    before = "false" if column is None or at is None else f"new.{quoted(column)}::timestamptz < to_timestamp({at!r})"
    return _filled(tables.file("adopt/count"), older=_older(mapping, source, outbox, tables, where, before))


def _older(
    mapping: Mapping, source: Source, outbox: str, tables: Tables, where: str | None, handed: str = "false"
) -> str:
    """Return the query of older rows, of which a backfill copies some and its question counts the same."""
    order = order_of(mapping, source)
    return _filled(
        tables.file("adopt/older"),
        outbox=outbox,
        second=second_id(mapping, source, tables.payload_type),
        named=named(mapping, source, tables.payload_type),
        same=same(mapping, source, tables.payload_type),
        place="NULL::integer" if order is None else f"new.{quoted(order)}",
        handed=handed,
        source=source.sql,
        where=_where(mapping, where),
    )


def sample(mapping: Mapping, source: Source, tables: Tables) -> str:
    """Return the statement that maps some rows, the newest if there is an order."""
    made = values(mapping, source, tables.payload_type)
    return _filled(
        tables.file("adopt/sample"),
        topic=made["topic"],
        key=made["key"],
        source=source.sql,
        where=_where(mapping, None),
        order="" if mapping.order_by is None else f"ORDER BY new.{quoted(mapping.order_by)} DESC ",
    )


def _where(mapping: Mapping, where: str | None) -> str:
    parts = [f"({one})" for one in (conditions(mapping), where) if one is not None]
    return f"WHERE {' AND '.join(parts)} " if parts else ""


def _filled(text: str, **named: str) -> str:
    """Put texts in for ``{names}``, all at once: a text that holds braces itself stays as it is."""
    return re.sub(r"\{([a-z]+)\}", lambda found: named[found[1]], text)
