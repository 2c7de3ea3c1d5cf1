"""``relay migrate``: make or update the outbox."""

import click

from relay.cli.options import with_settings
from relay.cli.table import message
from relay.config.settings import Settings
from relay.operate.access import connect, telling_rights
from relay.postgres.migrate import PAYLOAD_TYPES, left_undone, missing, script
from relay.postgres.migrate import migrate as apply
from relay.postgres.migrate import new_origin as begin_origin
from relay.postgres.tables import Tables


@click.command()
@with_settings("--dsn-file", "--table")
@click.option(
    "--payload-type",
    type=click.Choice(PAYLOAD_TYPES),
    help="Type of the payload column of a new table (jsonb); an existing one must have it.",
)
@click.option("--no-bell", is_flag=True, help="No doorbell trigger: for producers that use two-phase commit.")
@click.option("--print", "print_only", is_flag=True, help="Print the SQL for an empty database; connect to nothing.")
@click.option(
    "--new-origin",
    is_flag=True,
    help="After a restore or a lossy failover: seqs drawn from now on are of another history.",
)
@click.option("--dry-run", is_flag=True, help="Report what would be applied, and change nothing.")
def migrate(
    settings: Settings, payload_type: str | None, no_bell: bool, print_only: bool, new_origin: bool, dry_run: bool
) -> None:
    """Make the outbox, or bring it up to date. Doing it again changes nothing.

    Safe while producers and relays work: one transaction, which waits at most 5 s for a lock on the table. With
    --new-origin it then waits until every relay has noticed, some seconds: let the applications write after that.

    \b
    relay migrate --dry-run
    relay migrate
    relay migrate --table app.outbox_events --payload-type bytea
    relay migrate --new-origin
    relay migrate --print > outbox.sql
    """
    table = settings.postgres.table
    if print_only:
        click.echo(script(table, payload_type, not no_bell), nl=False)
        return
    if dry_run:
        with connect(settings) as conn:
            names = missing(conn, table, payload_type)
        for name in names:
            message(f"would apply {name}")
        if new_origin:
            message("would begin another history of seqs")
        elif not names:
            message(f"{table} is up to date; there is nothing to do")
        message("dry run, nothing is changed")
        return
    needs = "migrating takes the owner of the table, or the right to make tables in its schema"
    with connect(settings) as conn, left_undone(conn) as undone, telling_rights(Tables(table), needs):
        applied = apply(conn, table, payload_type, not no_bell)
        begun = begin_origin(conn, table) if new_origin else None
    for name in applied:
        message(f"applied {name}")
    for what in undone:
        message(what)
    message(f"{table} is up to date{'' if applied else '; there was nothing to do'}")
    if begun is not None:
        message(f"seqs above {begun[1]:,} are of origin {begun[0]} from now on")
