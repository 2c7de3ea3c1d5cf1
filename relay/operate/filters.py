"""Which events an operator means: the filters that list, replay, retry, discard and prune share. Pure."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from relay.text import iso


@dataclass(frozen=True, slots=True)
class Filters:
    """Which events are meant: all that is set must hold, and what is not set lets everything through.

    Attributes:
        topic: A pattern, see `topic_regex`.
        since: Unix seconds, included.
        until: Unix seconds, not included.
        ids: Any of these.
        first_seq: Included.
        last_seq: Included.
        error: Text that the last error contains, in upper or lower case.
    """

    topic: str | None = None
    key: str | None = None
    since: float | None = None
    until: float | None = None
    ids: tuple[str, ...] = ()
    first_seq: int | None = None
    last_seq: int | None = None
    error: str | None = None

    def __bool__(self) -> bool:
        """Report whether anything is asked for at all."""
        return self != Filters()

    def params(self) -> tuple[object, ...]:
        """Return $1 to $8 of the queries that take filters."""
        return (
            None if self.topic is None else topic_regex(self.topic),
            self.key,
            self.since,
            self.until,
            list(self.ids) or None,
            self.first_seq,
            self.last_seq,
            self.error,
        )

    def as_record(self) -> dict[str, object]:
        """Return what is asked for as the audit table keeps it; `from_record` reads it."""
        record: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value not in (None, ()):
                record[field.name] = iso(value) if field.name in ("since", "until") else value
        return record


def from_record(record: dict[str, Any]) -> Filters:
    """Return the filters of a line of the audit table; anything else in it is ignored."""
    values = {field.name: record[field.name] for field in fields(Filters) if field.name in record}
    for name in ("since", "until"):
        if name in values:
            values[name] = datetime.fromisoformat(values[name]).timestamp()
    values["ids"] = tuple(values.get("ids", ()))
    return Filters(**values)


def topic_regex(pattern: str) -> str:
    """Return PostgreSQL's regular expression for a topic pattern.

    NATS rules: ``*`` is one token, a last ``>`` is everything below. Beyond them ``*`` and ``?`` may stand
    inside a token, for any characters of it and for one.
    """
    *tokens, last = pattern.split(".")
    parts = [_part(token) for token in tokens]
    parts.append(".+" if last == ">" else _part(last))
    return "^" + r"\.".join(parts) + "$"


def _part(part: str) -> str:
    if part == "*":
        return "[^.]+"
    return "".join({"*": "[^.]*", "?": "[^.]"}.get(char, _literal(char)) for char in part)


def _literal(char: str) -> str:
    return char if char.isalnum() or char == "_" else f"\\{char}" if char.isascii() else char
