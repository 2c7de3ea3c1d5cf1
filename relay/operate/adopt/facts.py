"""What the database says of a foreign table and of the outbox."""

import json
from collections.abc import Sequence

from relay.errors import ConfigError
from relay.operate.access import Reader, Row
from relay.operate.adopt import script
from relay.operate.adopt.judge import Facts
from relay.operate.adopt.mapping import Mapping, Source, faults
from relay.rules.adoption import Adoption, adoption_of


def gather(reader: Reader, table: str, mapping: Mapping | None) -> Facts:
    """Read the facts; without a mapping no row is mapped.

    Raises:
        ConfigError: The foreign table does not exist.
    """
    rows = reader.rows("adopt/source", (table,))
    if not rows:
        raise ConfigError([f"table {table} does not exist here; a name with capitals needs quotes"])
    schema, name, kind, owned, columns, key_columns, server, encoding = rows[0]
    source = Source(schema, name, json.loads(columns), tuple(json.loads(key_columns)))
    outbox_schema, outbox_name, may_insert, runs = reader.row("adopt/target")
    outbox = f"{outbox_schema}.{outbox_name}"
    payload_type = reader.tables.payload_type
    sample: list[Row] = []
    if mapping is not None and not faults(mapping, source, payload_type, server):
        text = script.sample(mapping, source, reader.tables)
        sample = reader.cursor.execute(text.encode()).fetchall()
    return Facts(
        source=source,
        kind=kind,
        owned=owned,
        server=server,
        encoding=encoding,
        outbox=outbox,
        payload_type=payload_type,
        may_insert=may_insert,
        relay_runs=runs,
        publications=[(name, of_all) for name, of_all in reader.rows("adopt/publications", (table,))],
        adopted=any(one.source == source.sql and one.outbox == outbox for one in adoptions(reader)),
        sample=[(topic, key) for topic, key in sample],
    )


def adoptions(reader: Reader) -> Sequence[Adoption]:
    """Return the adoptions of the database."""
    return [adoption_of(*row) for row in reader.rows("adopt/installed")]
