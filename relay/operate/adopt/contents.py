"""Whether a row whose id the outbox holds is the event that it holds, as SQL. Pure: no I/O.

An id may come again: a sequence is restarted, or a table is emptied. With the same contents it is the same event, as
after a restore or in a backfill; with other contents it is another one. That one gets a second id, which follows from
id and contents, so that it is found if it comes again. The second id must stay what it is from release to release.

Contents are topic, key, payload, headers and the time of the row. What is read of them must be the same in each
session, or a backfill would send again what an application has written: see `_BY_SESSION`.

The expressions name two rows: ``made``, which the mapping makes and `named` selects, and ``kept``, of the outbox.
"""

import re

from relay.operate.adopt.mapping import Mapping, Source, literal, topic_fields, uuid_of, values
from relay.rules.database.adoption import columns_of, unsettled_of
from relay.text import quoted

# Types whose text depends on settings of the session, such as TimeZone, DateStyle and bytea_output.
_BY_SESSION = re.compile(r"\b(timestamp|time|date|interval|real|double precision|bytea|money|\w*range|reg[a-z]+)\b")
SETTINGS = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
}
"""How values are written as text, as in the relay's own sessions."""
# A time without a zone is read in the zone of the session: what is stored differs by whole quarters of an hour.
_ZONELESS = (
    "(made.given IS NULL OR"
    " mod(extract(epoch FROM kept.created_at)::numeric - extract(epoch FROM made.given)::numeric, 900) = 0)"
)


def settings(mapping: Mapping, source: Source, body: str) -> dict[str, str]:
    """Return the settings under which the body of a function has one text in each session; none if it has so anyway.

    A time without a zone that is taken for ``created_at`` is read in the zone of the application, so that stays.
    """
    if mapping.topic_sql is None and not unsettled_of(body, source.columns):
        return {}
    zoneless = mapping.created_at is not None and source.columns[mapping.created_at] != "timestamp with time zone"
    return {name: value for name, value in SETTINGS.items() if name != "TimeZone" or not zoneless}


def named(mapping: Mapping, source: Source, payload_type: str) -> str:
    """Return what ``made`` is selected as: each column of the outbox, and ``given``, the time as it was given."""
    found = [f"{expression} AS {name}" for name, expression in values(mapping, source, payload_type).items()]
    if mapping.created_at is not None:
        found.append(f"new.{quoted(mapping.created_at)} AS given")
    return ", ".join(found)


def others(mapping: Mapping, row: str) -> str:
    """Return the columns of a row but the id, in the order of `values`."""
    names = ["topic", "key", "payload", "headers", *(["created_at"] if mapping.created_at is not None else [])]
    return ", ".join(f"{row}.{name}" for name in names)


def same(mapping: Mapping, source: Source, payload_type: str) -> str:
    """Return whether the row ``kept`` is the event that ``made`` is, once their ids are the same."""
    kept, made = (_digest(mapping, source, payload_type, row) for row in ("kept", "made"))
    # As bytes: two texts of different collations cannot be compared.
    equal = f"{kept} = {made}"
    if mapping.created_at is None:
        return equal
    zoned = source.columns[mapping.created_at] == "timestamp with time zone"
    return f"{equal} AND {'(made.given IS NULL OR kept.created_at = made.given)' if zoned else _ZONELESS}"


def second_id(mapping: Mapping, source: Source, payload_type: str) -> str:
    """Return the id of the event ``made`` if another one holds its own."""
    text = f"uuid_send(made.id) || {_digest(mapping, source, payload_type, 'made')}"
    if mapping.created_at is not None:
        send = (
            "timestamptz_send" if source.columns[mapping.created_at] == "timestamp with time zone" else "timestamp_send"
        )
        text += f" || coalesce({send}(made.given), '')"
    return uuid_of(text)


def _digest(mapping: Mapping, source: Source, payload_type: str, row: str) -> str:
    """Return the digest of a row's contents but its time: of digests, so that no two rows run together to the same."""
    parts = []
    if _is_settled(source, _topic_columns(mapping)):
        parts.append(f"convert_to({row}.topic, 'UTF8')")
    if mapping.key is not None and _is_settled(source, [mapping.key]):
        parts.append(f"convert_to(coalesce(':' || {row}.key, ''), 'UTF8')")
    parts.append(f"{row}.payload" if payload_type == "bytea" else f"convert_to({row}.payload::text, 'UTF8')")
    parts.append(f"convert_to(coalesce({_headers(mapping, source, row)}::text, ''), 'UTF8')")
    return f"sha256({' || '.join(f'sha256({part})' for part in parts)})"


def _topic_columns(mapping: Mapping) -> list[str]:
    return topic_fields(mapping) if mapping.topic_sql is None else columns_of(mapping.topic_sql)


def _headers(mapping: Mapping, source: Source, row: str) -> str:
    """Return the headers of a row without those that another session would write otherwise."""
    unsettled = [literal(name) for name, field in mapping.headers if not _is_settled(source, [field])]
    if not unsettled:
        return f"{row}.headers"
    # Headers that are no object have no members, and would raise an error.
    plain = f"{row}.headers - ARRAY[{', '.join(unsettled)}]"
    return f"CASE WHEN jsonb_typeof({row}.headers) = 'object' THEN {plain} ELSE {row}.headers END"


def _is_settled(source: Source, fields: list[str]) -> bool:
    """Return whether fields have the same text in each session."""
    kinds = (
        source.columns.get(column, "") for column, arrow, _ in (one.partition("->") for one in fields) if not arrow
    )
    return not any(_BY_SESSION.search(kind) for kind in kinds)
