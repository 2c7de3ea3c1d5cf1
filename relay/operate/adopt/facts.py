"""What the database says of a foreign table and of the outbox."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from relay.errors import ConfigError
from relay.operate.access import Reader, Row
from relay.operate.adopt import script
from relay.operate.adopt.judge import Facts
from relay.operate.adopt.mapping import Mapping, Source, faults


class Adoption(NamedTuple):
    """An adoption as it stands in the database.

    Attributes:
        source: The foreign table.
        enabled: Whether its trigger fires.
        outbox: Where it copies to, in SQL.
        preset: With which it was installed.
        unchanged: Whether its function is the one that was installed.
    """

    source: str
    enabled: bool
    outbox: str
    preset: str
    unchanged: bool

    @property
    def sound(self) -> bool:
        """Whether each new row is copied as it was agreed."""
        return self.enabled and self.unchanged

    @property
    def state(self) -> str:
        """What it does now, for people."""
        if not self.enabled:
            return "its trigger is disabled: nothing is copied"
        return "copies each new row" if self.unchanged else "its function was changed by another hand"


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
    found = []
    for schema, name, _, enabled, comment, digest, _ in reader.rows("adopt/installed"):
        noted = json.loads(comment)
        source = Source(schema, name, {}).sql
        unchanged = noted["function_sha256"] == digest
        found.append(Adoption(source, enabled, noted["outbox"], noted["preset"], unchanged))
    return found
