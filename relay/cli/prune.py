"""``relay prune``: delete old rows by hand."""

import json
import time

import click

from relay.cli.consent import Consent, consenting
from relay.cli.filter_options import moment_or_span
from relay.cli.options import table_or_json, with_settings
from relay.cli.progress import Progress
from relay.cli.table import message
from relay.config.derived_options import deletable_dead
from relay.config.settings import Settings
from relay.errors import Exit, RelayError
from relay.operate.changes import changing
from relay.operate.prune import Age, check, check_streams, count_dead, count_delivered, delete_dead, delete_delivered
from relay.text import json_line


class NothingSaid(RelayError):
    """It was not said how old rows must be, neither by a flag nor in the configuration. Nothing was changed."""

    exit_code = Exit.CONFIG


@click.command()
@with_settings("--dsn-file", "--table", "--server", "--creds-file")
@click.option(
    "--older-than",
    callback=moment_or_span,
    metavar="SPAN",
    help="Delivered (or dead) for longer than 12h, 30d.  [default: the ages of [retention]]",
)
@click.option("--dead", is_flag=True, help="Delete dead letters, instead of delivered events.")
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Look at no stream, and at no copy of a dead letter: what is lost cannot be sent again from deleted rows.",
)
@table_or_json
@consenting
def prune(
    settings: Settings, older_than: float | None, dead: bool, accept_loss: bool, output: str, consent: Consent
) -> None:
    """Delete delivered events, or dead letters, that are old enough.

    In small steps, beside producers and a running relay. Only below the watermark, and nothing while a stream cannot
    be looked at or has lost what it had acknowledged: the rows are what it is healed from. If keys wait for their
    dead letters (failures.on_dead = "block"), only discarded ones are deleted. With failures.dead_subject a dead
    letter stays until its copy is stored there, or it is discarded.

    \b
    relay prune --older-than 30d --dry-run
    relay prune --older-than 30d --yes
    relay prune --dead --older-than 90d
    """
    age_s = _age_s(settings, older_than, dead)
    what = "dead letters" if dead else "delivered events"
    every = deletable_dead(settings)._replace(copied_only=False)
    deletable = every if accept_loss else deletable_dead(settings)
    with changing(settings) as changer:
        if not dead and not accept_loss:
            check_streams(settings, changer)
        age = Age(changer, age_s)
        planned = count_dead(changer, age, deletable) if dead else count_delivered(changer, age)
        uncopied = count_dead(changer, age, every) - planned if dead and deletable.copied_only else 0
        check(changer)
        pruned = 0
        if planned and consent.given(f"delete {planned:,} {what}"):
            with Progress(planned, "deleting") as progress:
                if dead:
                    pruned = delete_dead(changer, age, planned, progress.add, deletable)
                else:
                    pruned = delete_delivered(settings, changer, age, planned, progress.add, accept_loss=accept_loss)
    if uncopied > 0:
        message(
            f"{uncopied:,} dead letters stay: their copies on {settings.failures.dead_subject} are not stored yet;"
            " --accept-loss deletes them all the same"
        )
    if output == "json":
        click.echo(json_line(json.dumps({"what": what, "planned": planned, "pruned": pruned})))
    elif not planned:
        message(f"no {what} are that old{'' if dead else ' and below the watermark'}")
    elif not consent.dry_run:
        click.echo(f"{pruned:,} {what} deleted")


def _age_s(settings: Settings, older_than: float | None, dead: bool) -> float:
    if older_than is not None:
        return max(0.0, time.time() - older_than)
    name = "dead_age_s" if dead else "delivered_age_s"
    age_s = settings.retention.dead_age_s if dead else settings.retention.delivered_age_s
    if not age_s:
        raise NothingSaid(f"how old? Use --older-than, such as 30d, or set retention.{name}")
    return age_s
