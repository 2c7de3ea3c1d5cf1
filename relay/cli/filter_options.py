"""The filters of a command as options: spans, moments, ranges of seqs, ids."""

import functools
import re
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from relay.cli.spans import seconds_of
from relay.operate.filters import Filters

_SEQS = re.compile(r"([0-9]{0,18})(?:(\.\.)([0-9]{0,18}))?")


def moment_or_span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return Unix seconds for a span back from now, or for a moment."""
    if value is None:
        return None
    if (span_s := seconds_of(value)) is not None:
        return time.time() - span_s
    try:
        # Without a zone it is local time, as the tables show it.
        return datetime.fromisoformat(value.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{value!r} is neither a span such as 90s, 15m, 2h, 7d nor a moment such as 2030-01-31T12:00"
        ) from None


def seq_range(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int | None, int | None]:
    """Return the first and the last seq of ``7``, ``7..9``, ``7..`` or ``..9``."""
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
    """Return ids in the form in which the table has them."""
    try:
        return tuple(str(uuid.UUID(value.strip())) for value in values)
    except ValueError:
        raise click.BadParameter(f"{' '.join(values)!r} is not an id (UUID)") from None


def filtered(times: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the filters as options to a command; it is called with ``filters``.

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
