"""``relay verify``: does the stream still hold what it acknowledged?"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from relay.cli.consent import Audit, Changer, Consent, Progress, changing, consenting
from relay.cli.filter_options import seq_range
from relay.cli.options import table_or_json, with_settings
from relay.cli.table import Column, message, table
from relay.config.settings import Settings
from relay.errors import Exit
from relay.integrity.comparison import Comparison
from relay.operate.broker import broker
from relay.operate.verify import Report, verify
from relay.rules.stream_loss import DeliveredRow, Fate, Seen
from relay.text import json_line, moment

_CHUNK = 1000
_COLUMNS = (Column("STREAM"), *(Column(verdict.value.replace("_", " ").upper(), right=True) for verdict in Fate))
_LOST_COLUMNS = (
    Column("LOST SEQ", right=True),
    Column("ID"),
    Column("STREAM"),
    Column("AT", right=True),
    Column("SENT"),
)


@dataclass
class _Done:
    """What was changed: how many events of each stream were given back, and the streams whose loss was closed."""

    given_back: dict[str, int] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)

    @property
    def events(self) -> int:
        """How many events were given back."""
        return sum(self.given_back.values())


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

    A loss that the relay left to a person (healing.on_loss = "alert") stands open until --redeliver without --seq has
    found nothing lost in its stream that is not sent again, nor anything unknown.

    \b
    relay verify
    relay verify --stream ORDERS --seq 100000.. --rate 2000
    relay verify --redeliver --dry-run
    """
    with changing(settings) as changer:
        began = time.monotonic()
        with changer.step():
            (began_at,) = changer.row("clock")
            seen = _seen(changer)
        report = asyncio.run(_compared(settings, changer, seen, stream, seqs, rate))
        took_s = time.monotonic() - began
        done = _Done()
        lost = report.count(Fate.LOST)
        # A part of the events says nothing about the others.
        closing = _closing(report, seen, stream) if redeliver and seqs == (None, None) else []
        if redeliver and (lost or closing) and consent.given(_what(lost, closing)):
            told: dict[str, object] = {} if stream is None else {"stream": stream}
            audit = changer.begin("verify --redeliver", told | ({"closes": closing} if closing else {}), lost)
            _redeliver(changer, audit, report, done)
            _close(changer, report, closing, began_at, done)
            audit.end()
    if output == "json":
        click.echo(json_line(json.dumps(_for_programs(report, done, took_s), ensure_ascii=False)))
    else:
        _for_people(report, done, took_s)
    if lost > done.events:
        if not redeliver:
            message("have them sent again with `relay verify --redeliver`")
        raise SystemExit(Exit.LOST)
    if report.count(Fate.UNKNOWN):
        message("a stream could not be read: the relay's account needs STREAM.INFO and DIRECT.GET or STREAM.MSG.GET")
        raise SystemExit(Exit.UNREACHABLE)


def _seen(changer: Changer) -> dict[str, Seen]:
    return {
        name: Seen(name, created=created, first_seq=first_seq, begun_at=begun_at, lost=lost)
        for name, created, first_seq, begun_at, lost in changer.rows("cli_streams")
    }


def _closing(report: Report, seen: dict[str, Seen], stream: str | None) -> list[str]:
    """Name the streams whose open loss can be closed once what they have lost is given back."""
    return [
        one.stream
        for one in seen.values()
        if one.lost and stream in (None, one.stream) and not report.verdicts.get(one.stream, {}).get(Fate.UNKNOWN)
    ]


def _what(lost: int, closing: list[str]) -> str:
    """Say what a person is to agree to."""
    parts = [f"send {lost:,} events again that were lost"] if lost else []
    if closing:
        parts.append(f"close the open loss of {', '.join(closing)}")
    return " and ".join(parts)


async def _compared(
    settings: Settings,
    changer: Changer,
    seen: dict[str, Seen],
    stream: str | None,
    seqs: tuple[int | None, int | None],
    rate: float,
) -> Report:
    with changer.step():
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


def _redeliver(changer: Changer, audit: Audit, report: Report, done: _Done) -> None:
    """Make lost events pending again, in the order of seq, and so due in that order."""
    with changer.step():
        (due_at,) = changer.row("clock")
    with Progress(report.count(Fate.LOST), "giving back") as progress:
        for stream, losses in report.losses.items():
            for seqs, wait_s in ((losses.at_once, 0.0), (losses.later, losses.forgotten_s)):
                for start in range(0, len(seqs), _CHUNK):
                    chunk = seqs[start : start + _CHUNK].tolist()
                    with changer.step():
                        values = (chunk, stream, due_at, wait_s, None, None)
                        changed = changer.run("unmark", values)
                        audit.add(changed)
                    done.given_back[stream] = done.given_back.get(stream, 0) + changed
                    progress.add(len(chunk))


def _close(changer: Changer, report: Report, closing: list[str], began_at: float, done: _Done) -> None:
    """Close the open losses of streams of which nothing is left that is lost."""
    for stream in closing:
        if report.verdicts.get(stream, {}).get(Fate.LOST, 0) == done.given_back.get(stream, 0):
            with changer.step():
                if changer.run("loss_healed", (stream, began_at)):
                    done.closed.append(stream)


def _for_people(report: Report, done: _Done, took_s: float) -> None:
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


def _for_programs(report: Report, done: _Done, took_s: float) -> dict[str, object]:
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
