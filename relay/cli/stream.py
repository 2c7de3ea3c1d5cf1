"""``relay stream``: make, look at and change the streams that events go to."""

import asyncio
import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click

from relay.cli.consent import Consent, consenting
from relay.cli.options import table_or_json, with_settings
from relay.cli.table import Column, message, table
from relay.config.settings import Settings
from relay.operate import filter_text
from relay.text import about_size, json_line

_AMOUNT = re.compile(r"(\d+)(k|m|g|t)?i?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_NAME = re.compile(r"[A-Za-z0-9_-]+")


def _span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        span_s = 0.0 if value == "0" else filter_text.span(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if span_s is None:
        raise click.BadParameter(f"{value!r} is not a time such as 90s, 2m, 12h or 7d")
    return span_s


def _amount(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    if value == "none":
        return -1
    found = _AMOUNT.fullmatch(value)
    if found is None or not int(found[1]):
        raise click.BadParameter(f"{value!r} is not a size such as 500MiB or 10GiB, nor none")
    unit: int = 1024 ** _POWERS[(found[2] or "").lower()]
    return int(found[1]) * unit


def _name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _NAME.fullmatch(value):
        raise click.BadParameter("a name holds letters, digits, _ and - only")
    return value


_connection = with_settings("--server", "--creds-file")


class Limits(NamedTuple):
    """What can be said of a stream beside its subjects, in seconds and bytes; None for what was not given."""

    replicas: int | None
    duplicate_window_s: float | None
    max_age_s: float | None
    max_bytes: int | None
    max_msgs: int | None
    max_msg_size: int | None


def _limited(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a stream's limits to a command; it is called with ``limits``."""

    @click.option("--replicas", type=click.IntRange(1, 5), help="Number of servers with a copy.  [default: 1]")
    @click.option(
        "--duplicate-window", metavar="TIME", callback=_span, help="In which a repeated id is dropped.  [default: 2m]"
    )
    @click.option("--max-age", metavar="TIME", callback=_span, help="How long messages are kept; 0: for ever.")
    @click.option("--max-bytes", metavar="SIZE", callback=_amount, help="How much is kept; none: no limit.")
    @click.option("--max-msgs", type=click.IntRange(1), help="How many messages are kept.")
    @click.option(
        "--max-msg-size",
        metavar="SIZE",
        callback=_amount,
        help="Largest message, with its headers; none: no limit.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        replicas: int | None,
        duplicate_window: float | None,
        max_age: float | None,
        max_bytes: int | None,
        max_msgs: int | None,
        max_msg_size: int | None,
        **params: Any,
    ) -> None:
        limits = Limits(replicas, duplicate_window, max_age, max_bytes, max_msgs, max_msg_size)
        command(*args, limits=limits, **params)

    return wrapped


@click.group()
def stream() -> None:
    """Make, look at and change the streams that events go to.

    \b
    relay stream create ORDERS --subject 'orders.>'
    relay stream show
    relay stream edit ORDERS --max-age 30d
    """


@stream.command()
@_connection
@click.argument("name", callback=_name)
@click.option("--subject", "subjects", multiple=True, required=True, help="Repeatable.")
@_limited
@consenting
def create(settings: Settings, name: str, subjects: tuple[str, ...], limits: Limits, consent: Consent) -> None:
    """Make a stream as the relay needs it: on disk, with atomic batches, refusing new messages when it is full.

    \b
    relay stream create ORDERS --subject 'orders.>' --max-age 7d --yes
    """
    from relay.jetstream.managed_stream import ManagedStream
    from relay.operate import stream as work

    given = {field: value for field, value in limits._asdict().items() if value is not None}
    plan = ManagedStream(name, subjects, **given)
    if plan.max_age_s and plan.duplicate_window_s > plan.max_age_s:
        raise click.UsageError("--duplicate-window must not be larger than --max-age")
    if consent.given(f"make stream {name} for {', '.join(subjects)}"):
        asyncio.run(work.create(settings, plan))
        click.echo(f"stream {name} takes {', '.join(subjects)}")


@stream.command()
@_connection
@click.argument("name", required=False, callback=_name)
@table_or_json
def show(settings: Settings, name: str | None, output: str) -> None:
    """Show a stream, or all of them.

    \b
    relay stream show
    relay stream show ORDERS --output json
    """
    from relay.operate import stream as work

    found = asyncio.run(work.show(settings, name))
    if output == "json":
        for one in found:
            click.echo(json_line(json.dumps(one._asdict())))
    elif name is not None:
        for one in found:
            for field, value in one._asdict().items():
                click.echo(f"{field:20} {_shown(field, value)}")
    elif found:
        titles = ("messages", "bytes", "max_age_s", "max_bytes", "replicas", "consumers")
        columns = [Column("NAME"), *(Column(_title(one), right=True) for one in titles), Column("SUBJECTS", rest=True)]
        rows = [
            [one.name, *(_shown(title, getattr(one, title)) for title in titles), ", ".join(one.subjects)]
            for one in found
        ]
        for line in table(columns, rows):
            click.echo(line)
    else:
        message("there is no stream")


@stream.command()
@_connection
@click.argument("name", callback=_name)
@click.option("--subject", "subjects", multiple=True, help="All that it takes; repeatable.")
@click.option("--discard", type=click.Choice(["new", "old"]), help="What goes when it is full; the relay needs new.")
@click.option("--allow-atomic", is_flag=True, help="Take atomic batches.")
@click.option("--allow-direct", is_flag=True, help="Answer reads directly, many messages at once.")
@click.option("--ack", is_flag=True, help="Acknowledge what it stores.")
@_limited
@consenting
def edit(
    settings: Settings,
    name: str,
    subjects: tuple[str, ...],
    discard: str | None,
    allow_atomic: bool,
    allow_direct: bool,
    ack: bool,
    limits: Limits,
    consent: Consent,
) -> None:
    """Change what the options say, and leave the rest alone. A lower limit deletes messages.

    \b
    relay stream edit ORDERS --max-age 30d --max-bytes 50GiB --yes
    """
    from relay.operate import stream as work

    given = {
        "subjects": list(subjects) or None,
        "num_replicas": limits.replicas,
        "duplicate_window": _nanoseconds(limits.duplicate_window_s),
        "max_age": _nanoseconds(limits.max_age_s),
        "max_bytes": limits.max_bytes,
        "max_msgs": limits.max_msgs,
        "max_msg_size": limits.max_msg_size,
        "discard": discard,
        "allow_atomic": allow_atomic or None,
        "allow_direct": allow_direct or None,
        "no_ack": False if ack else None,
    }
    wanted = {field: value for field, value in given.items() if value is not None}
    if not wanted:
        raise click.UsageError("nothing to change: no option says what")
    changes = asyncio.run(work.changes(settings, name, wanted))
    if not changes:
        message(f"stream {name} needs no change")
        return
    said = "; ".join(f"{one.field} from {_said(one.field, one.old)} to {_said(one.field, one.new)}" for one in changes)
    if consent.given(f"change stream {name}: {said}"):
        asyncio.run(work.edit(settings, name, changes))
        click.echo(f"stream {name} is changed: {said}")


def _nanoseconds(span_s: float | None) -> int | None:
    return None if span_s is None else round(span_s * 1e9)


def _said(field: str, value: Any) -> str:
    """Return in words a value of JetStream's own configuration, whose times are nanoseconds."""
    if field in ("max_age", "duplicate_window"):
        return _shown(f"{field}_s", value / 1e9)
    return _shown(field, value)


def _title(field: str) -> str:
    return field.removesuffix("_s").replace("_", " ").upper()


def _shown(field: str, value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    if field in ("max_bytes", "max_msgs", "max_msg_size") and value < 0:
        return "no limit"
    if field.endswith("bytes") or field == "max_msg_size":
        return about_size(value)
    if field == "max_age_s" and value == 0:
        return "for ever"
    if field.endswith("_s"):
        return f"{value:,.0f} s" if value >= 1 else f"{value:g} s"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
