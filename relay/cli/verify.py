"""``relay verify``: does the stream still hold what it acknowledged?"""

import asyncio
import json
import time
from collections.abc import Sequence

import click

from relay.cli.broker import broker
from relay.cli.change import Changer, Consent, Progress, changing, consenting
from relay.cli.common import table_or_json, with_settings
from relay.cli.filters import seq_range
from relay.cli.text import Column, json_line, message, moment, table
from relay.compare import Comparison
from relay.errors import Exit
from relay.losses import DeliveredRow, Seen, Verdict
from relay.settings import Settings
from relay.verify import Report, verify

_CHUNK = 1000
_COLUMNS = (Column("STREAM"), *(Column(verdict.value.replace("_", " ").upper(), right=True) for verdict in Verdict))
_LOST_COLUMNS = (
    Column("LOST SEQ", right=True),
    Column("ID"),
    Column("STREAM"),
    Column("AT", right=True),
    Column("SENT"),
)


@click.command("verify", short_help="Compare delivered events with their streams.")
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

    Intact: it is where it was stored. Lost: the stream has lost it. Aged out: a rule of the stream let it go. Purged:
    somebody let it go. Unknown: the stream could not be read. Exits with 7 where something is lost.

    What was deleted out of the middle of a stream counts as lost, since nothing tells it from damage: look at it
    before you have it sent again.

    \b
    relay verify
    relay verify --stream ORDERS --seq 100000.. --rate 2000
    relay verify --redeliver --dry-run
    """
    with changing(settings) as changer:
        began = time.monotonic()
        report = asyncio.run(_compared(settings, changer, stream, seqs, rate))
        took_s = time.monotonic() - began
        given_back = 0
        lost = report.count(Verdict.LOST)
        if lost and redeliver and consent.given(f"send {lost:,} events again that were lost"):
            told: dict[str, object] = {} if stream is None else {"stream": stream}
            given_back = _redeliver(changer, report, told, everything=seqs == (None, None))
    if output == "json":
        click.echo(json_line(json.dumps(_for_programs(report, given_back, took_s), ensure_ascii=False)))
    else:
        _for_people(report, given_back, took_s)
    if lost > given_back:
        if not redeliver:
            message("have them sent again with `relay verify --redeliver`")
        raise SystemExit(Exit.LOST)
    if report.count(Verdict.UNKNOWN):
        message("a stream could not be read: the relay's account needs STREAM.INFO and DIRECT.GET or STREAM.MSG.GET")
        raise SystemExit(Exit.UNREACHABLE)


async def _compared(
    settings: Settings, changer: Changer, stream: str | None, seqs: tuple[int | None, int | None], rate: float
) -> Report:
    with changer.step():
        seen = {
            name: Seen(name, created=created, first_seq=first_seq, begun_at=begun_at, lost=lost)
            for name, created, first_seq, begun_at, lost in changer.rows("cli_streams")
        }
        (newest,) = changer.row("newest")
    above = (seqs[0] or 1) - 1
    up_to = min(newest, newest if seqs[1] is None else seqs[1])

    def read(above: int, up_to: int) -> Sequence[tuple[DeliveredRow, str]]:
        with changer.step():
            rows = changer.rows("delivered", (above, up_to, stream, 0, None, 1))
        return [(DeliveredRow(*row[:4]), row[4]) for row in rows]

    def next_seq(above: int) -> int | None:
        with changer.step():
            found = changer.rows("next_seq", (above,))
        return int(found[0][0]) if found else None

    async with broker(settings) as connection:
        with Progress(max(0, up_to - above), "comparing") as progress:
            return await verify(
                Comparison(connection, seen),
                read,
                next_seq,
                above=above,
                up_to=up_to,
                rate=rate,
                on_progress=progress.add,
            )


def _redeliver(changer: Changer, report: Report, told: dict[str, object], *, everything: bool) -> int:
    """Make lost events pending again, in the order of seq, and so due in that order."""
    planned = report.count(Verdict.LOST)
    audit = changer.begin("verify --redeliver", told, planned)
    with changer.step():
        (due_at,) = changer.row("clock")
    given_back = 0
    with Progress(planned, "giving back") as progress:
        for stream, losses in report.losses.items():
            for seqs, wait_s in ((losses.at_once, 0.0), (losses.later, losses.forgotten_s)):
                for start in range(0, len(seqs), _CHUNK):
                    chunk = seqs[start : start + _CHUNK].tolist()
                    with changer.step():
                        values = (chunk, stream, due_at, wait_s, None, None)
                        changed = changer.run("unmark", values)
                        audit.add(changed)
                    given_back += changed
                    progress.add(len(chunk))
            if everything:
                with changer.step():
                    changer.run("loss_healed", (stream,))
    audit.end()
    return given_back


def _for_people(report: Report, given_back: int, took_s: float) -> None:
    rows = [
        (stream, *(f"{counts.get(verdict, 0):,}" for verdict in Verdict))
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
        more = report.count(Verdict.LOST) - len(shown)
        if more > 0:
            message(f"and {more:,} more")
    message(f"compared {report.compared:,} events in {took_s:.1f} s")
    if given_back:
        message(f"{given_back:,} events are pending again; a running relay sends them within seconds")


def _for_programs(report: Report, given_back: int, took_s: float) -> dict[str, object]:
    return {
        "compared": report.compared,
        "took_s": round(took_s, 3),
        **{verdict.value: report.count(verdict) for verdict in Verdict},
        "redelivered": given_back,
        "streams": {
            stream: {verdict.value: counts.get(verdict, 0) for verdict in Verdict}
            for stream, counts in sorted(report.verdicts.items())
        },
        "first_lost": [
            {"seq": row.seq, "id": row.event_id, "stream": stream, "stream_seq": row.stream_seq}
            for row, stream in report.first_lost
        ],
    }
