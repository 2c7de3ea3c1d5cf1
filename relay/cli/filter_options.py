"""The filters of a command as options: spans, moments, ranges of seqs, ids."""

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from relay.operate import filter_text
from relay.operate.filters import Filters

T = TypeVar("T")


def moment_or_span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return Unix seconds for a span back from now, or for a moment."""
    return None if value is None else _typed(lambda: filter_text.moment_or_span(value, time.time()))


def seq_range(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int | None, int | None]:
    """Return the first and the last seq of ``7``, ``7..9``, ``7..`` or ``..9``."""
    return (None, None) if value is None else _typed(lambda: filter_text.seq_range(value))


def uuids(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return ids in the form in which the table has them."""
    return _typed(lambda: tuple(map(filter_text.event_id, values)))


def _typed(read: Callable[[], T]) -> T:
    try:
        return read()
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


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
