"""``relay verify``: does the stream still hold what it acknowledged?"""

import asyncio
import json
import time

import click

from relay.cli.consent import Consent, consenting
from relay.cli.filter_options import seq_range
from relay.cli.options import table_or_json, with_settings
from relay.cli.progress import Progress
from relay.cli.table import Column, message, table
from relay.config.settings import Settings
from relay.errors import Exit
from relay.operate.changes import changing
from relay.operate.verify import Redelivered, Report, Scope, check, closable, extent, verify
from relay.operate.verify import redeliver as redeliver_lost
from relay.rules.stream.stream_loss import Fate
from relay.text import events_of, json_line, moment

_COLUMNS = (
    Column("STREAM", name=True),
    *(Column(verdict.value.replace("_", " ").upper(), right=True) for verdict in Fate),
)
_LOST_COLUMNS = (
    Column("LOST SEQ", right=True),
    Column("ID", name=True),
    Column("STREAM", name=True),
    Column("AT", right=True),
    Column("SENT"),
)


@click.command("verify")
@with_settings("--dsn-file", "--table", "--server", "--creds-file")
@click.option("--stream", metavar="NAME", help="Only what was stored in this stream.")
@click.option("--seq", "seqs", callback=seq_range, metavar="RANGE", help="4711, 4711..4720, 4711.. or ..4720.")
@click.option(
    "--rate",
    metavar="N",
    type=click.FloatRange(1),
    default=10_000.0,
    show_default=True,
    help="Events a second at most.",
)
@click.option("--redeliver", is_flag=True, help="Have what was lost sent again.")
@table_or_json
@consenting
def verify_command(
    settings: Settings,
    stream: str | None,
    seqs: tuple[int | None, int | None],
    rate: float,
    redeliver: bool,
    output: str,
    consent: Consent,
) -> None:
    """Compare delivered events with their streams, by sequence and message id.

    Intact: it is where it was stored. Lost: the stream has lost it. Aged out: a rule of the stream removed it. Purged:
    somebody removed it. Unknown: the stream could not be read. Exits with 7 if something is lost.

    A message deleted from the middle of a stream counts as lost, since it looks the same as damage: check it before
    you have it sent again.

    A loss that the relay left to the operator (healing.on_loss = "alert") stays open until --redeliver without --seq
    has sent everything again that its stream has lost, and found nothing unknown.

    \b
    relay verify
    relay verify --stream ORDERS --seq 100000.. --rate 2000
    relay verify --redeliver --dry-run
    """
    scope = Scope(stream, *seqs, rate)
    done = Redelivered()
    with changing(settings) as changer:
        if redeliver:
            check(changer)
        began = time.monotonic()
        above, up_to = extent(changer, scope)
        with Progress(max(0, up_to - above), "comparing") as progress:
            report = asyncio.run(verify(settings, changer, scope, progress.add))
        took_s = time.monotonic() - began
        lost = report.count(Fate.LOST)
        closing = closable(report, scope) if redeliver else []
        if redeliver and (lost or closing) and consent.given(_what(lost, closing)):
            with Progress(lost, "redelivering") as progress:
                done = redeliver_lost(changer, report, scope, progress.add)
    if output == "json":
        click.echo(json_line(json.dumps(_for_programs(report, done, took_s), ensure_ascii=False)))
    else:
        _for_people(report, done, took_s)
    if lost > done.events:
        if not redeliver:
            again = "have them sent again with `relay verify --redeliver`"
            message(f"{again}, before retention or `relay prune` deletes their rows")
        elif done.events:
            left = events_of(lost - done.events, "lost event")
            message(f"{left} could not be given back: their rows were deleted, or changed, since they were compared")
        raise SystemExit(Exit.LOST)
    if report.count(Fate.UNKNOWN):
        for sentence in report.why_unknown():
            message(sentence)
        raise SystemExit(Exit.UNREACHABLE)


def _what(lost: int, closing: list[str]) -> str:
    """Return what the operator is asked to agree to."""
    parts = [f"send {events_of(lost, 'lost event')} again"] if lost else []
    if closing:
        parts.append(f"close the open loss of {', '.join(closing)}")
    return " and ".join(parts)


def _for_people(report: Report, done: Redelivered, took_s: float) -> None:
    rows = [
        (stream, *(f"{counts.get(verdict, 0):,}" for verdict in Fate))
        for stream, counts in sorted(report.verdicts.items())
    ]
    if rows:
        for line in table(_COLUMNS, rows):
            click.echo(line)
    else:
        message("no delivered events to compare")
    if report.first_lost:
        now = time.time()
        click.echo()
        shown = [
            (str(row.seq), row.event_id, stream, str(row.stream_seq), moment(row.delivered_at, now))
            for row, stream in report.first_lost
        ]
        for line in table(_LOST_COLUMNS, shown):
            click.echo(line)
        more = report.count(Fate.LOST) - len(shown)
        if more > 0:
            message(f"and {more:,} more")
    message(f"compared {report.compared:,} events in {took_s:.1f} s")
    if done.events:
        message(f"{done.events:,} events are pending again; a running relay sends them within seconds")
    if done.closed:
        message(f"closed the open loss of {', '.join(done.closed)}")


def _for_programs(report: Report, done: Redelivered, took_s: float) -> dict[str, object]:
    return {
        "compared": report.compared,
        "took_s": round(took_s, 3),
        **{verdict.value: report.count(verdict) for verdict in Fate},
        "redelivered": done.events,
        "closed": done.closed,
        "streams": {
            stream: {verdict.value: counts.get(verdict, 0) for verdict in Fate}
            for stream, counts in sorted(report.verdicts.items())
        },
        "first_lost": [
            {"seq": row.seq, "id": row.event_id, "stream": stream, "stream_seq": row.stream_seq}
            for row, stream in report.first_lost
        ],
    }
