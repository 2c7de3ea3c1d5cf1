"""``relay adopt backfill``: copy the rows that were there before."""

from typing import TYPE_CHECKING

import click

from relay.cli.adopt_options import mapped
from relay.cli.consent import Consent, consenting
from relay.cli.options import with_settings
from relay.cli.table import message
from relay.config.settings import Settings
from relay.operate.adopt.mapping import Mapping
from relay.operate.changes import changing

if TYPE_CHECKING:
    from relay.operate.adopt.older_rows import Older

unordered = click.option(
    "--unordered", is_flag=True,
    help="Copy older rows though no column orders them: events of a key may then come before earlier ones.",
)  # fmt: skip


def told(older: "Older") -> str:
    """Print what an operator must know before older rows are copied; return what would be done, in words."""
    for one in older.warnings:
        message(f"warning: {one}")
    return older.words


@click.command()
@with_settings("--dsn-file", "--table")
@mapped
@click.option("--where", metavar="SQL", required=True, help="Which older rows, over the row `new`.")
@unordered
@consenting
def backfill(
    settings: Settings,
    source: str,
    preset: str,
    mapping: Mapping,
    where: str,
    unordered: bool,
    consent: Consent,
) -> None:
    """Copy older rows, each key in its order. A row that the outbox holds already is left.

    It does so if it holds the id with the same contents. A row whose id it holds with other contents, such as one of a
    sequence that was restarted, is another event, and is copied under a second id; --dry-run counts such rows.

    They are ordered by --order-by or the preset's column; else by one of the primary key that a sequence fills, or by
    --created-at. Rows of the same time come in any order. Without such a column it is refused, unless nothing has a
    key. --dry-run counts what the outbox does not hold: what its retention has deleted, or the old reader has sent, is
    counted too and would be sent again, so name the rows that are missing.

    They come behind what was copied before. To keep the order of a key, copy them by install --backfill.

    \b
    relay adopt backfill --preset eventuate --where 'published = 0' --yes
    """
    from relay.operate.adopt import steps
    from relay.operate.adopt.older_rows import Backfill

    older_rows = Backfill(where, unordered)
    with changing(settings) as changer:
        _, older = steps.check_fill(changer, source, mapping, older_rows)
        if consent.given(f"{told(older)}, of {source} for which {where}"):
            click.echo(f"{steps.fill(changer, source, mapping, older_rows):,} rows were copied")
