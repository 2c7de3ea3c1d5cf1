"""``relay stream``: make, look at and change the streams that events go to."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

import click

from relay.cli.consent import Consent, consenting
from relay.cli.options import table_or_json, with_settings
from relay.cli.table import Column, message, table
from relay.config.settings import Settings
from relay.text import about_size, json_line

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AMOUNT = re.compile(r"(\d+)(k|m|g|t)?i?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_NAME = re.compile(r"[A-Za-z0-9_-]+")


def _span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    found = _SPAN.fullmatch(value)
    if value != "0" and found is None:
        raise click.BadParameter(f"{value!r} is not a time such as 90s, 2m, 12h or 7d")
    return 0.0 if found is None else float(found[1]) * _SECONDS[found[2]]


def _amount(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None or value == "none":
        return None if value is None else -1
    found = _AMOUNT.fullmatch(value)
    if found is None or not int(found[1]):
        raise click.BadParameter(f"{value!r} is not a size such as 500MiB or 10GiB, nor none")
    unit: int = 1024 ** _POWERS[(found[2] or "").lower()]
    return int(found[1]) * unit


def _name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _NAME.fullmatch(value):
        raise click.BadParameter("a name holds letters, digits, _ and - only")
    return value


_replicas = click.option("--replicas", type=click.IntRange(1, 5), help="Copies on so many servers.  [default: 1]")
_window = click.option(
    "--duplicate-window", metavar="TIME", callback=_span, help="In which a repeated id is dropped.  [default: 2m]"
)
_age = click.option("--max-age", metavar="TIME", callback=_span, help="How long messages are kept; 0: for ever.")
_bytes = click.option("--max-bytes", metavar="SIZE", callback=_amount, help="How much is kept; none: no limit.")
_connection = with_settings("--server", "--creds-file")


@click.group(short_help="Make, look at and change streams.")
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
@_replicas
@_window
@_age
@_bytes
@consenting
def create(
    settings: Settings,
    name: str,
    subjects: tuple[str, ...],
    replicas: int | None,
    duplicate_window: float | None,
    max_age: float | None,
    max_bytes: int | None,
    consent: Consent,
) -> None:
    """Make a stream as the relay wants it: on disk, atomic batches, and a full one refuses instead of dropping.

    \b
    relay stream create ORDERS --subject 'orders.>' --max-age 7d --yes
    """
    from relay.jetstream.managed_stream import ManagedStream
    from relay.operate import stream as work

    window_s = 120.0 if duplicate_window is None else duplicate_window
    if max_age and window_s > max_age:
        raise click.UsageError("--duplicate-window must not be larger than --max-age")
    plan = ManagedStream(
        name,
        subjects,
        replicas=replicas or 1,
        duplicate_window_s=window_s,
        max_age_s=max_age or 0.0,
        max_bytes=-1 if max_bytes is None else max_bytes,
    )
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
@_replicas
@_window
@_age
@_bytes
@consenting
def edit(
    settings: Settings,
    name: str,
    subjects: tuple[str, ...],
    replicas: int | None,
    duplicate_window: float | None,
    max_age: float | None,
    max_bytes: int | None,
    consent: Consent,
) -> None:
    """Change what is given, and leave alone the rest. A lower limit deletes messages.

    \b
    relay stream edit ORDERS --max-age 30d --max-bytes 50GiB --yes
    """
    from relay.operate import stream as work

    given = {
        "subjects": list(subjects) or None,
        "num_replicas": replicas,
        "duplicate_window": None if duplicate_window is None else round(duplicate_window * 1e9),
        "max_age": None if max_age is None else round(max_age * 1e9),
        "max_bytes": max_bytes,
    }
    wanted = {field: value for field, value in given.items() if value is not None}
    if not wanted:
        raise click.UsageError("nothing to change: give an option")
    changes = asyncio.run(work.changes(settings, name, wanted))
    if not changes:
        message(f"stream {name} is like that already")
        return
    said = "; ".join(f"{one.field} from {_said(one.field, one.old)} to {_said(one.field, one.new)}" for one in changes)
    if consent.given(f"change stream {name}: {said}"):
        asyncio.run(work.edit(settings, name, changes))
        click.echo(f"stream {name} is changed: {said}")


def _said(field: str, value: Any) -> str:
    """Say a value of JetStream's own configuration, whose times are nanoseconds."""
    if field in ("max_age", "duplicate_window"):
        return _shown(f"{field}_s", value / 1e9)
    return _shown(field, value)


def _title(field: str) -> str:
    return field.removesuffix("_s").replace("_", " ").upper()


def _shown(field: str, value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    if field.endswith("bytes"):
        return "no limit" if value < 0 else about_size(value)
    if field == "max_age_s" and value == 0:
        return "for ever"
    if field.endswith("_s"):
        return f"{value:,.0f} s" if value >= 1 else f"{value:g} s"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
