"""``relay prune``: delete old rows by hand."""

import json
import time

import click

from relay.cli.consent import Changer, Consent, Progress, changing, consenting
from relay.cli.filter_options import moment_or_span
from relay.cli.options import table_or_json, with_settings
from relay.cli.table import message
from relay.config.settings import Settings
from relay.errors import Exit, RelayError
from relay.maintenance.retention import DEAD_STEP, SPAN
from relay.text import json_line

# Counting holds nobody up; deleting leaves room for others after each step.
_COUNT_SPAN = 50_000
_STEP_PAUSE_S = 0.05


class NothingSaid(RelayError):
    """It was not said how old rows must be, neither by a flag nor in the configuration. Nothing was changed."""

    exit_code = Exit.CONFIG


class OpenLoss(RelayError):
    """A stream has a loss that nobody has healed, and the rows are what it is healed from. Nothing was changed."""

    exit_code = Exit.LOST


@click.command(short_help="Delete old events by hand.")
@with_settings("--dsn-file", "--table")
@click.option(
    "--older-than",
    callback=moment_or_span,
    metavar="SPAN",
    help="Delivered (or dead) for longer than 12h, 30d.  [default: the ages of [retention]]",
)
@click.option("--dead", is_flag=True, help="Delete dead letters, instead of delivered events.")
@table_or_json
@consenting
def prune(settings: Settings, older_than: float | None, dead: bool, output: str, consent: Consent) -> None:
    """Delete delivered events, or dead letters, that are old enough.

    In small steps, beside producers and a running relay. Only below the watermark, and nothing while a stream has
    a loss that was not healed. Where keys wait for their dead letters (failures.on_dead = "block") only discarded
    ones go.

    \b
    relay prune --older-than 30d --dry-run
    relay prune --older-than 30d --yes
    relay prune --dead --older-than 90d
    """
    age_s = _age_s(settings, older_than, dead)
    what = "dead letters" if dead else "delivered events"
    discarded_only = settings.failures.on_dead == "block"
    with changing(settings) as changer:
        planned = _count_dead(changer, age_s, discarded_only) if dead else _count_delivered(changer, age_s)
        pruned = 0
        if planned and consent.given(f"delete {planned:,} {what}"):
            audit = changer.begin("prune", {"what": what, "older_than_s": round(age_s)}, planned)
            with Progress(planned, "deleting") as progress:
                upper = 0
                while True:
                    with changer.step():
                        if dead:
                            count = changer.run("prune_dead", (DEAD_STEP, age_s, discarded_only, None, None))
                            done = count < DEAD_STEP
                        else:
                            count, upper = _step(changer, upper, age_s)
                            done = upper == 0
                        if count:
                            audit.add(count)
                    pruned += count
                    progress.add(count)
                    if done:
                        break
                    if count:
                        time.sleep(_STEP_PAUSE_S)
            audit.end()
    if output == "json":
        click.echo(json_line(json.dumps({"what": what, "planned": planned, "pruned": pruned})))
    elif not planned:
        message(f"there are no {what} that old{'' if dead else ' below the watermark'}")
    elif not consent.dry_run:
        click.echo(f"{pruned:,} {what} deleted")


def _age_s(settings: Settings, older_than: float | None, dead: bool) -> float:
    if older_than is not None:
        return max(0.0, time.time() - older_than)
    name = "dead_age_s" if dead else "delivered_age_s"
    age_s = settings.retention.dead_age_s if dead else settings.retention.delivered_age_s
    if not age_s:
        raise NothingSaid(f"how old? Give --older-than, such as 30d, or set retention.{name}")
    return age_s


def _count_delivered(changer: Changer, age_s: float) -> int:
    with changer.step():
        if any(lost for *_, lost in changer.rows("cli_streams")):
            raise OpenLoss("a stream has lost events: see `relay verify`, and heal it with `relay verify --redeliver`")
    count, above = 0, 0
    while True:
        with changer.step():
            following = changer.rows("next_seq", (above,))
            if not following:
                return count
            above = following[0][0] - 1
            (found,) = changer.row("cli_prunable", (above, above + _COUNT_SPAN, age_s))
        count += found
        above += _COUNT_SPAN


def _count_dead(changer: Changer, age_s: float, discarded_only: bool) -> int:
    with changer.step():
        (count,) = changer.row("cli_prunable_dead", (age_s, discarded_only))
    return int(count)


def _step(changer: Changer, above: int, age_s: float) -> tuple[int, int]:
    """Delete in the next range of seqs; gives how many, and where the range ended, 0 after the last one."""
    following = changer.rows("next_seq", (above,))
    if not following:
        return 0, 0
    above = following[0][0] - 1
    count, _, _ = changer.row("prune_delivered", (above, above + SPAN, age_s, None, None))
    return int(count), above + SPAN
