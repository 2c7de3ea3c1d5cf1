"""Which column of a foreign table becomes what in the outbox, as SQL. Pure: no I/O.

The expressions stand in a trigger of the application's own transaction, so none may fail, whatever a row holds: nothing
is cast that the column's type does not guarantee, and null never reaches a column that takes none. Each expression
names the row ``new``: a variable in the trigger's function, and the alias of the table in a SELECT.
"""

import re
from collections.abc import Iterable
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass
from string import Template
from typing import Literal

from relay.text import quoted

Empty = Literal["send", "skip"]

# IS JSON, without which a text cannot be told from JSON before it is cast.
_IS_JSON_SINCE = 16
# The new row as a whole, and not a column of it.
_WHOLE_ROW = re.compile(r"\bnew\b(?!\s*\.\s*[\w\"])", re.IGNORECASE)
_FIELD = re.compile(r"\{([^{}]+)\}")
_JSON = ("jsonb", "json")
_TEXTS = ("text", "character varying", "character")
# Written in the time zone of a session.
ZONED = ("timestamp with time zone", "tstzrange", "tstzmultirange")
TIMES = ("timestamp with time zone", "timestamp without time zone")
# JSON that says these cannot be read as text by PostgreSQL. A longer text may be nested too deeply.
_UNREADABLE = r"\\u(0000|[dD][89a-fA-F])"
_LONGEST_OBJECT = 8000
# A uuid of version 8 from a text; only quoted names and literals are put in.
_UUID_OF = Template(
    "coalesce((SELECT encode(set_byte(set_byte(substring(h FROM 1 FOR 16), 6, (get_byte(h, 6) & 15) | 128),"
    " 8, (get_byte(h, 8) & 63) | 128), 'hex')::uuid FROM sha256($text) AS h), gen_random_uuid())"
)
# The members of an object that are not null, as texts.
_MEMBERS_OF = Template("coalesce((SELECT jsonb_object_agg(key, value) FROM $each WHERE value IS NOT NULL), '{}')")


@dataclass(frozen=True, slots=True)
class Source:
    """A foreign table.

    Attributes:
        schema: Its schema, unquoted.
        name: Its name, unquoted.
        columns: The type of each column, without its length.
        key_columns: Of its primary key.
        drawn: Columns that an ascending sequence fills, in the order of insertion.
        virtual: Generated columns that are not stored: a trigger's function finds no value there.
    """

    schema: str
    name: str
    columns: Dictionary[str, str]
    key_columns: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    virtual: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its name for people, and for what is hashed: unquoted, with the schema."""
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        """Its name in SQL."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which field becomes what. A field is a column, or ``column->name`` for a member of a JSON object.

    Attributes:
        topic: A text with fields in braces, such as ``outbox.event.{aggregatetype}``.
        topic_sql: An SQL expression instead, over the row ``new``.
        id: The column of the id; what is no uuid becomes one.
        key: A field, None for no order.
        payload: The column of the payload.
        headers: Header names and the fields of their values.
        header_object: A field that holds headers as a JSON object.
        trace: A column of Java properties (Debezium's tracing span), from which ``traceparent`` is taken.
        created_at: A column; None: now.
        when: An SQL condition over the row ``new``; rows for which it is not true are no events.
        empty: Whether a row without a payload is sent, as ``null`` or an empty text.
        expand: Whether a payload of type text that is JSON is sent as JSON, through an outbox of type json. One of type
            json or jsonb is sent as JSON in any case.
        purge: Whether the row is deleted as soon as it is copied.
        order_by: The column that orders older rows for a backfill; None: see `order_of`.
    """

    topic: str = ""
    topic_sql: str | None = None
    id: str = "id"
    key: str | None = None
    payload: str = "payload"
    headers: tuple[tuple[str, str], ...] = ()
    header_object: str | None = None
    trace: str | None = None
    created_at: str | None = None
    when: str | None = None
    empty: Empty = "send"
    expand: bool = False
    purge: bool = False
    order_by: str | None = None


def literal(text: str) -> str:
    """Quote a text."""
    escaped = text.replace("'", "''")
    return f"E'{escaped.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{escaped}'"


def topic_fields(mapping: Mapping) -> list[str]:
    """Return the fields that the topic is made of."""
    return [] if mapping.topic_sql is not None else _FIELD.findall(mapping.topic)


def faults(mapping: Mapping, source: Source, payload_type: str, server: int) -> list[str]:
    """Return why this mapping cannot be installed; empty if it can.

    Args:
        payload_type: Of the outbox.
        server: The major version of PostgreSQL.
    """
    found = []
    if not mapping.topic and mapping.topic_sql is None:
        found.append("no topic: set --topic, such as --topic 'orders.{type}'")
    fields = [*topic_fields(mapping), *(field for _, field in mapping.headers)]
    fields += [field for field in (mapping.key, mapping.header_object) if field is not None]
    columns = [mapping.id, mapping.payload, mapping.trace, mapping.created_at]
    copied = dict.fromkeys([*(field.partition("->")[0] for field in fields), *(one for one in columns if one)])
    missing = [name for name in (*copied, *filter(None, [mapping.order_by])) if name not in source.columns]
    found += [f"column {name} does not exist in {source.label}" for name in missing]
    if missing:
        return found
    for field in fields:
        column, arrow, _ = field.partition("->")
        kind = source.columns[column]
        if (arrow or field == mapping.header_object) and kind not in ("jsonb", "json", *_TEXTS):
            found.append(f"column {column} is {kind}: it holds no JSON object")
        elif (arrow or field == mapping.header_object) and kind != "jsonb" and server < _IS_JSON_SINCE:
            found.append(
                f"column {column} is {kind}: reading it as JSON without a risk for the application takes PostgreSQL "
                f"{_IS_JSON_SINCE}"
            )
    found += _payload_faults(mapping, source.columns[mapping.payload], payload_type, server)
    if mapping.created_at is not None and source.columns[mapping.created_at] not in TIMES:
        found.append(f"column {mapping.created_at} is {source.columns[mapping.created_at]}, not a time")
    found += _virtual_faults(mapping, source, copied)
    if mapping.purge and len(source.key_columns) != 1:
        found.append("--purge needs a primary key of one column")
    return found


def _virtual_faults(mapping: Mapping, source: Source, copied: Iterable[str]) -> list[str]:
    """Return which virtual columns the trigger's function would read, and PostgreSQL computes not.

    It does so for the trigger's condition, and for what a backfill orders by.

    ``--topic-sql`` is refused if it may read one: its texts and comments are searched, too.
    """
    written = mapping.topic_sql or ""
    found = [
        f"column {name} of {source.label} is a virtual generated column, and PostgreSQL computes none for the function "
        "of a trigger: new rows would be copied without it; make it STORED, or map the columns that it is made of"
        for name in source.virtual
        if name in copied or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", written, re.IGNORECASE)
    ]
    if not found and source.virtual and _WHOLE_ROW.search(written):
        found.append(
            f"--topic-sql reads the whole row `new`, and PostgreSQL computes no virtual column such as "
            f"{source.virtual[0]} for the function of a trigger: name the columns that it needs"
        )
    return found


def _payload_faults(mapping: Mapping, kind: str, payload_type: str, server: int) -> list[str]:
    if mapping.expand and kind not in _JSON:
        if kind not in _TEXTS or payload_type != "json":
            return [
                "--expand takes a payload of type text to an outbox of type json: relay migrate --payload-type json"
            ]
        return [] if server >= _IS_JSON_SINCE else [f"--expand takes PostgreSQL {_IS_JSON_SINCE}"]
    fits: tuple[str, ...]
    if kind in _TEXTS:
        fits = ("text", "bytea")
    elif kind == "jsonb":
        fits = ("jsonb", "json", "text", "bytea")
    elif kind == "json":
        fits = ("json", "text", "bytea")
    elif kind == "bytea":
        fits = ("bytea",)
    else:
        return [f"the payload is {kind}: only jsonb, json, text and bytea are payloads"]
    if payload_type in fits:
        return []
    why = "a value that cannot be converted would fail the application's insert"
    do = f"make an outbox with relay migrate --payload-type {fits[0]}"
    return [f"the payload is {kind} and the outbox takes {payload_type}: {why}; {do}"]


def order_of(mapping: Mapping, source: Source) -> str | None:
    """Return the column that orders older rows; None if none is known.

    That is the one which is named; else one of the primary key or the id that a sequence fills, or the time of the row.
    """
    if mapping.order_by is not None:
        return mapping.order_by
    drawn = [name for name in (*source.key_columns, mapping.id) if name in source.drawn]
    return drawn[0] if drawn else mapping.created_at


def conditions(mapping: Mapping) -> str | None:
    """Return the condition under which a row is an event, None if each is."""
    parts = [f"({mapping.when})"] if mapping.when is not None else []
    if mapping.empty == "skip":
        parts.append(f"new.{quoted(mapping.payload)} IS NOT NULL")
    return " AND ".join(parts) or None


def values(mapping: Mapping, source: Source, payload_type: str) -> dict[str, str]:
    """Return the expression of each column of the outbox; only for a mapping without `faults`."""
    made = {
        "id": _id(mapping, source),
        "topic": _topic(mapping, source),
        "key": "NULL::text" if mapping.key is None else _text(mapping.key, source),
        "payload": _payload(mapping, source.columns[mapping.payload], payload_type),
        "headers": _headers(mapping, source),
    }
    if mapping.created_at is not None:
        made["created_at"] = f"coalesce(new.{quoted(mapping.created_at)}::timestamptz, now())"
    return made


def _text(field: str, source: Source) -> str:
    """Return a field as text."""
    column, arrow, name = field.partition("->")
    row = f"new.{quoted(column)}"
    if not arrow:
        return f"{row}::text"
    if source.columns[column] == "jsonb":
        return f"({row} ->> {literal(name)})"
    return f"({_object(column)} ->> {literal(name)})"


def _object(column: str) -> str:
    """Return a column of type json or text as JSON, null unless it is an object that can be read without an error.

    The cast is outside of the CASE: PostgreSQL may compute a cast of a trigger's value while it plans, whatever stands
    before it in the CASE.
    """
    text = f"new.{quoted(column)}::text"
    readable = f"length({text}) <= {_LONGEST_OBJECT} AND {text} !~ {literal(_UNREADABLE)} AND {text} IS JSON OBJECT"
    return f"(CASE WHEN {readable} THEN {text} END)::json"


def _topic(mapping: Mapping, source: Source) -> str:
    if mapping.topic_sql is not None:
        return f"coalesce(({mapping.topic_sql})::text, '')"
    parts = []
    end = 0
    for found in _FIELD.finditer(mapping.topic):
        if found.start() > end:
            parts.append(literal(mapping.topic[end : found.start()]))
        parts.append(f"coalesce({_text(found[1], source)}, '')")
        end = found.end()
    if end < len(mapping.topic):
        parts.append(literal(mapping.topic[end:]))
    return " || ".join(parts)


def _id(mapping: Mapping, source: Source) -> str:
    """Return the id; one that is no uuid becomes one of version 8, the same for the same id of the same table."""
    row = f"new.{quoted(mapping.id)}"
    if source.columns[mapping.id] == "uuid":
        return f"coalesce({row}, gen_random_uuid())"
    return uuid_of(f"convert_to({literal(f'{source.label}:')} || {row}::text, 'UTF8')")


def uuid_of(of: str) -> str:
    """Return a uuid of version 8 that follows from bytes; a random one if they are null."""
    return _UUID_OF.substitute(text=of)


def _payload(mapping: Mapping, kind: str, payload_type: str) -> str:
    row = f"new.{quoted(mapping.payload)}"
    if mapping.expand and kind not in _JSON:
        text = f"CASE WHEN {row} IS JSON THEN {row}::text ELSE coalesce(to_json({row}::text)::text, 'null') END"
        return f"({text})::json"
    empty = "'null'" if kind in ("jsonb", "json") else "''"
    if kind == "bytea":
        return f"coalesce({row}, '')"
    if payload_type == "bytea":
        return f"convert_to(coalesce({row}::text, {empty}), 'UTF8')"
    return f"coalesce({row}::{payload_type}, {empty})"


def _headers(mapping: Mapping, source: Source) -> str:
    pairs = [f"{literal(name)}, {_text(field, source)}" for name, field in mapping.headers]
    if source.columns[mapping.id] != "uuid":
        pairs.append(f"'Outbox-Source-Id', {_text(mapping.id, source)}")
    if mapping.trace is not None:
        row = f"new.{quoted(mapping.trace)}"
        pairs.append(f"'traceparent', substring({row}::text from 'traceparent=(\\S+)')")
    own = f"jsonb_strip_nulls(jsonb_build_object({', '.join(pairs)}))" if pairs else None
    if mapping.header_object is None:
        return own or "NULL::jsonb"
    column, arrow, name = mapping.header_object.partition("->")
    kind = "jsonb" if source.columns[column] == "jsonb" else "json"
    value = f"new.{quoted(column)}" if kind == "jsonb" else _object(column)
    if arrow:
        value = f"({value} -> {literal(name)})"
    # An object of type json is read by _object already, but not a member of one.
    sure = value if kind == "json" and not arrow else f"CASE WHEN {kind}_typeof({value}) = 'object' THEN {value} END"
    each = f"{kind}_each_text({sure})"
    theirs = _MEMBERS_OF.substitute(each=each)
    return theirs if own is None else f"{theirs} || {own}"
