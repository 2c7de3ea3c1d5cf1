"""What the database says of a foreign table and of the outbox."""

import json
from collections.abc import Sequence

from relay.errors import ConfigError
from relay.operate.access import Reader, Row
from relay.operate.adopt.judge import Facts, Publication, Rights
from relay.operate.adopt.mapping import Mapping, Source, faults
from relay.operate.adopt.older_rows import mapped
from relay.rules.database.adoption import Adoption, Carried, Installed, adoption_of
from relay.rules.database.uncopied import uncopied_of
from relay.text import quoted


def gather(reader: Reader, table: str, mapping: Mapping | None) -> Facts:
    """Read the facts; without a mapping no row is mapped.

    Raises:
        ConfigError: The foreign table does not exist.
        Refused: PostgreSQL does not understand the mapping.
    """
    rows = reader.rows("adopt/source", (table,))
    if not rows:
        raise ConfigError([f"table {table} does not exist here; a name with capitals needs quotes"])
    (
        schema,
        name,
        kind,
        owned,
        owner,
        mighty,
        columns,
        keys,
        drawn,
        server,
        encoding,
        virtual,
        hidden,
        ours,
        *uncopied,
    ) = rows[0]
    source = Source(
        schema, name, json.loads(columns), tuple(json.loads(keys)), tuple(json.loads(drawn)), tuple(virtual)
    )
    outbox_schema, outbox_name, runs, unpreparable, login, *may = reader.row("adopt/target")
    outbox = f"{outbox_schema}.{outbox_name}"
    payload_type = reader.tables.payload_type
    sample: list[tuple[str, str | None]] = []
    if mapping is not None and owned and not hidden and not faults(mapping, source, payload_type, server):
        sample = mapped(reader, mapping, source)
    return Facts(
        source=source,
        kind=kind,
        uncopied=[one for text in uncopied for one in uncopied_of(text)],
        rights=Rights(login, owner, owned, _missing(reader, login, outbox_schema, outbox_name, may), mighty),
        server=server,
        encoding=encoding,
        outbox=outbox,
        payload_type=payload_type,
        relay_runs=runs,
        unpreparable=unpreparable,
        publications=[_publication(row) for row in reader.rows("adopt/publications", (table,))],
        hidden=hidden,
        ours=ours,
        adopted=any(is_of(one, source.sql, outbox) for one in adoptions(reader)),
        sample=sample,
    )


def _missing(reader: Reader, login: str, schema: str, outbox: str, may: Sequence[bool]) -> list[tuple[str, str]]:
    """Return what an adoption takes and this login may not do, each with the statement that permits it."""
    to = quoted(login)
    wanted = (
        (f"insert into {schema}.{outbox}", f"GRANT {reader.tables.name('producer')} TO {to}"),
        (f"make the trigger's function in schema {schema}", f"GRANT CREATE ON SCHEMA {quoted(schema)} TO {to}"),
        ("write a line of the audit", f"GRANT {reader.tables.name('relay')} TO {to}"),
    )
    return [one for one, is_allowed in zip(wanted, may, strict=True) if not is_allowed]


def _publication(row: Row) -> Publication:
    name, of_all, owned, owner, mighty, columns, rows = row
    carried = Carried(name, tuple(json.loads(columns)) if columns else (), rows)
    return Publication(name, of_all, owned, owner, carried, mighty)


def outbox_of(reader: Reader) -> str:
    """Return the outbox in SQL, with its schema."""
    schema, name, *_ = reader.row("adopt/target")
    return f"{schema}.{name}"


def is_of(adoption: Adoption, source: str, outbox: str) -> bool:
    """Return whether an adoption has a trigger on a table, into an outbox; both in SQL."""
    return not adoption.gone and (adoption.source, adoption.outbox) == (source, outbox)


def adoptions(reader: Reader) -> Sequence[Adoption]:
    """Return the adoptions of the database."""
    return [adoption_of(Installed._make(row)) for row in reader.rows("adopt/installed")]


def adoptions_and_readers(reader: Reader) -> Sequence[Adoption]:
    """Return the adoptions of the database, with what the publications of their old readers send again."""
    return [one._replace(shared=_shared(reader, one)) for one in adoptions(reader)]


def _shared(reader: Reader, adoption: Adoption) -> tuple[str, ...]:
    if adoption.carried is None:
        return ()
    asked = (adoption.carried.publication, adoption.source)
    return tuple(name for (name,) in reader.rows("adopt/still_carried", asked))
