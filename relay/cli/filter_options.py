"""Which events a command means: the filters that list, replay, retry, discard and prune share."""

import functools
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import click

from relay.text import iso

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SEQS = re.compile(r"([0-9]{0,18})(?:(\.\.)([0-9]{0,18}))?")


@dataclass(frozen=True, slots=True)
class Filters:
    """What is asked for; what is not set lets everything through, and all that is set must hold.

    Attributes:
        topic: A pattern, see `topic_regex`.
        since: Unix seconds, included.
        until: Unix seconds, not included.
        ids: Any of these.
        first_seq: Included.
        last_seq: Included.
        error: Text that the last error holds, whatever its case.
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
        """Tell whether anything is asked for at all."""
        return self != Filters()

    def params(self) -> tuple[object, ...]:
        """Give $1 to $8 of the queries that take filters."""
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

    def told(self) -> dict[str, object]:
        """Give what is asked for as the audit table keeps it; `from_told` reads it."""
        told: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value not in (None, ()):
                told[field.name] = iso(value) if field.name in ("since", "until") else value
        return told


def from_told(told: dict[str, Any]) -> Filters:
    """Make the filters of a line of the audit table; what else it holds is passed over."""
    values = {field.name: told[field.name] for field in fields(Filters) if field.name in told}
    for name in ("since", "until"):
        if name in values:
            values[name] = datetime.fromisoformat(values[name]).timestamp()
    values["ids"] = tuple(values.get("ids", ()))
    return Filters(**values)


def moment_or_span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Give Unix seconds for a span back from now, or for a moment."""
    if value is None:
        return None
    span = _SPAN.fullmatch(value.strip())
    if span:
        return time.time() - float(span[1]) * _SECONDS[span[2]]
    try:
        # Without a zone it is local time, as the tables show it.
        return datetime.fromisoformat(value.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{value!r} is neither a span such as 90s, 15m, 2h, 7d nor a moment such as 2030-01-31T12:00"
        ) from None


def seq_range(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int | None, int | None]:
    """Give the first and the last seq of ``7``, ``7..9``, ``7..`` or ``..9``."""
    if value is None:
        return None, None
    found = _SEQS.fullmatch(value.strip())
    if found is None or not (found[1] or found[3]):
        raise click.BadParameter(f"{value!r} is neither a seq nor a range such as 4711..4720, 4711.. or ..4720")
    first = int(found[1]) if found[1] else None
    if not found[2]:
        return first, first
    last = int(found[3]) if found[3] else None
    if first is not None and last is not None and first > last:
        raise click.BadParameter(f"{value!r} ends before it begins")
    return first, last


def uuids(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Give ids in the form in which the table has them."""
    try:
        return tuple(str(uuid.UUID(value.strip())) for value in values)
    except ValueError:
        raise click.BadParameter(f"{' '.join(values)!r} is no id (UUID)") from None


def filtered(times: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the filters as options; it is called with ``filters``.

    Args:
        times: What ``--since`` and ``--until`` look at, for the help.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--topic",
            metavar="PATTERN",
            help="NATS pattern: * is one token, a last > the rest; * and ? also work inside a token.",
        )
        @click.option("--key", help="Only events of this key.")
        @click.option(
            "--since",
            callback=moment_or_span,
            metavar="SPAN|MOMENT",
            help=f"{times} since 90s, 15m, 2h, 7d, or since 2030-01-31T12:00.",
        )
        @click.option("--until", callback=moment_or_span, metavar="SPAN|MOMENT", help=f"{times} before then.")
        @click.option("--id", "ids", multiple=True, callback=uuids, metavar="UUID", help="May be given several times.")
        @click.option("--seq", "seqs", callback=seq_range, metavar="RANGE", help="4711, 4711..4720, 4711.. or ..4720.")
        @click.option("--error", metavar="TEXT", help="The last error holds this text.")
        @functools.wraps(command)
        def wrapped(
            *args: Any,
            topic: str | None,
            key: str | None,
            since: float | None,
            until: float | None,
            ids: tuple[str, ...],
            seqs: tuple[int | None, int | None],
            error: str | None,
            **params: Any,
        ) -> None:
            command(*args, filters=Filters(topic, key, since, until, ids, *seqs, error), **params)

        return wrapped

    return decorate


def topic_regex(pattern: str) -> str:
    """Make PostgreSQL's regular expression of a topic pattern.

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
