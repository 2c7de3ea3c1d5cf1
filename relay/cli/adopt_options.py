"""What the commands of ``relay adopt`` share: the options that say which column of a foreign table becomes what."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from relay.operate.adopt.presets import PRESETS, REFUSED


def _preset(ctx: click.Context, param: click.Parameter, given: str) -> str:
    if given in REFUSED:
        raise click.BadParameter(f"{given} cannot be adopted: {REFUSED[given]}")
    if given not in PRESETS:
        raise click.BadParameter(f"{given!r} is none of {', '.join(PRESETS)}")
    return given


def _headers(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [one.partition("=") for one in given]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise click.BadParameter(f"{name!r} is not NAME=COLUMN")
    return tuple((name, column) for name, _, column in pairs)


_OPTIONS = (
    click.option("--source", metavar="TABLE", help="The other tool's table, as SQL names it.  [default: the preset's]"),
    click.option(
        "--preset", metavar="NAME", default="columns", show_default=True, callback=_preset,
        help=f"What made the table: {', '.join(PRESETS)}.",
    ),
    click.option("--id", "id_", metavar="COLUMN", help="What is no uuid becomes one."),
    click.option("--topic", metavar="TEXT", help="With columns in braces: 'orders.{type}'."),
    click.option("--topic-sql", metavar="SQL", help="An expression instead, over the row `new`."),
    click.option("--key", metavar="COLUMN", help="Events of one key keep their order; `column->name` reads JSON."),
    click.option("--payload", metavar="COLUMN"),
    click.option("--header", "headers", metavar="NAME=COLUMN", multiple=True, callback=_headers, help="Repeatable."),
    click.option("--header-object", metavar="COLUMN", help="Holds headers as a JSON object."),
    click.option("--trace", metavar="COLUMN", help="Java properties that hold traceparent (Debezium)."),
    click.option("--created-at", metavar="COLUMN", help="[default: now]"),
    click.option("--when", metavar="SQL", help="Which rows are events, over the row `new`.  [default: all]"),
    click.option("--empty", type=click.Choice(["send", "skip"]), help="A row without a payload.  [default: send]"),
    click.option("--expand", is_flag=True, help="Send JSON in a text column as JSON; needs an outbox of type json."),
    click.option("--purge", is_flag=True, help="Delete each row as soon as it is copied: if nobody else does."),
    click.option(
        "--order-by", metavar="COLUMN",
        help="Orders older rows for a backfill.  [default: the preset's, a sequence of the primary key, --created-at]",
    ),
)  # fmt: skip


def mapped(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a mapping to a command; it is called with ``source``, ``preset`` and ``mapping``."""

    @functools.wraps(command)
    def wrapped(*args: Any, source: str | None, preset: str, id_: str | None, **params: Any) -> None:
        known = PRESETS[preset]
        names = ("topic", "topic_sql", "key", "payload", "headers", "header_object", "trace", "created_at", "when")
        given = {name: params.pop(name) for name in (*names, "empty", "expand", "purge", "order_by")}
        given = {name: value for name, value in given.items() if value}
        if "topic" in given:
            given.setdefault("topic_sql", None)
        if id_:
            given["id"] = id_
        table = source or known.table
        if not table:
            raise click.UsageError("--source is missing: which table is to be adopted?")
        command(*args, source=table, preset=preset, mapping=replace(known.mapping, **given), **params)

    decorated: Callable[..., None] = wrapped
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
