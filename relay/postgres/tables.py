"""Read the SQL files of the project and put the configured table names in.

The files say ``outbox_events`` and its companions, so that they can be pasted into psql (`make sql` prints those that
include shared parts); a relay that works on another table replaces the names. They live in ``sql/`` of the checkout and
in ``relay/_sql`` of the wheel.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Self

from relay.errors import ConfigError
from relay.postgres.includes import expand

DEFAULT_TABLE = "outbox_events"

_CHANNEL_BYTES = 63
"""What `pg_notify` takes as a channel: the doorbell rings on the table's name."""

_PLAIN_NAME = re.compile(r"([a-z_][a-z0-9_]{0,47}\.)?[a-z_][a-z0-9_]{0,47}")
_OURS = re.compile(
    r"\boutbox_(events|shards|shard|members|streams|migrations|origin|audit|ring|identity|producer|relay|reader)\b"
)
_PAYLOAD_AS_BYTES = "convert_to(textin(jsonb_out(e.payload)), 'UTF8')"
# As that does, each of these takes a column of its own type alone. If the column was altered meanwhile the statement is
# refused until another term has read its type: read as text, binary data would be sent as its hex digits.
_PAYLOAD_BY_TYPE = {
    "jsonb": _PAYLOAD_AS_BYTES,
    "json": "convert_to(textin(json_out(e.payload)), 'UTF8')",
    "text": "convert_to(textcat(e.payload, ''), 'UTF8')",
    "bytea": "byteacat(e.payload, '')",
}
# Of a type that `relay migrate` does not make.
_OTHER_PAYLOAD = "convert_to(e.payload::text, 'UTF8')"


def array(numbers: Iterable[int]) -> str:
    """Write an array of integers as PostgreSQL reads it; 0.1 us a number, a tenth of what the driver's dumper takes."""
    return "{" + ",".join(map(str, numbers)) + "}"


@cache
def sql_directory() -> Path:
    """Find the SQL files, in the installed package or else in the checkout."""
    here = Path(__file__).resolve().parent.parent
    packaged = here / "_sql"
    return packaged if packaged.is_dir() else here.parent / "sql"


@cache
def _text(directory: Path, name: str) -> str:
    """Read a file once in the life of the process, with its shared parts."""
    return expand((directory / f"{name}.sql").read_text("utf-8"), directory / "includes")


def read_ahead(rooms: Iterable[str]) -> None:
    """Read all queries of some rooms now.

    A process that works for months then keeps its own statements if its installation is replaced under it.
    """
    directory = sql_directory()
    for room in rooms:
        for path in (directory / "queries" / room).glob("*.sql"):
            _text(directory, f"queries/{room}/{path.stem}")


@dataclass(frozen=True)
class Tables:
    """The names of one outbox: the table of events and what stands beside it.

    ``app.outbox_events`` has ``app.outbox_shards`` and ``app.outbox_migrations``; ``app.billing`` has
    ``app.billing_shards``. Only plain lower-case names are taken, so that no name ever needs quotes.

    Raises:
        ConfigError: The name is not plain, or too long for the doorbell's channel.
    """

    events: str = DEFAULT_TABLE
    payload_type: str = "jsonb"
    _texts: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not _PLAIN_NAME.fullmatch(self.events):
            raise ConfigError([f"table {self.events!r}: must be a plain lower-case name, or schema.name"])
        if len(self.events) > _CHANNEL_BYTES:
            raise ConfigError([f"table {self.events!r}: must not be longer than {_CHANNEL_BYTES} characters"])

    def with_payload(self, payload_type: str) -> Self:
        """Return the same tables with another type of the payload column; these if it is theirs."""
        return self if payload_type == self.payload_type else type(self)(self.events, payload_type)

    @cached_property
    def schema(self) -> str | None:
        """The schema if one was named, else None (the search path decides)."""
        return self.events.split(".")[0] if "." in self.events else None

    @cached_property
    def base(self) -> str:
        """The common part of the companions' names: ``outbox`` for ``outbox_events``."""
        return self.events.split(".")[-1].removesuffix("_events")

    def twin(self) -> str:
        """Return the other name that a table of events may have whose companions have the same names as these."""
        own = self.events.removesuffix("_events")
        return own if own != self.events else f"{own}_events"

    def name(self, companion: str) -> str:
        """Name a companion, with the schema if one is configured; roles belong to no schema."""
        if companion == "events":
            return self.events
        plain = f"{self.base}_{companion}"
        if self.schema is None or companion in ("producer", "relay", "reader"):
            return plain
        return f"{self.schema}.{plain}"

    def qualify(self, text: str) -> str:
        """Replace the default names and the payload's reading in a text of SQL."""
        text = text.replace(_PAYLOAD_AS_BYTES, _PAYLOAD_BY_TYPE.get(self.payload_type, _OTHER_PAYLOAD))
        return _OURS.sub(lambda found: self.name(found[1]), text)

    def file(self, name: str) -> str:
        """Read ``sql/<name>.sql``, with its shared parts and the names of this outbox."""
        return self.qualify(_text(sql_directory(), name))

    def query(self, name: str) -> bytes:
        """Return the query ``sql/queries/<room>/<name>.sql``, ready to be sent; read once.

        Args:
            name: Room and name, such as ``delivery/fetch``.

        Bytes, because psycopg takes a query that is no literal only as bytes; what is in it comes from our own
        files and from a checked name.
        """
        found = self._texts.get(name)
        if found is None:
            found = self._texts[name] = self.file(f"queries/{name}").encode()
        return found
