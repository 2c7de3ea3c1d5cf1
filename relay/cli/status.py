"""``relay status``: how the outbox stands, from the database alone."""

import json
import time
from dataclasses import dataclass
from typing import Any, Literal

import click

from relay.cli.common import Reader, Row, reading, with_settings
from relay.cli.text import Column, age, iso, json_line, message, moment, table
from relay.plain import plain
from relay.settings import Settings

# So far every count is exact; beyond it says "more than". It keeps each query to tenths of a second.
COUNT_UP_TO = 100_000
# How many seqs are searched for what is pending, from the watermark on.
SCAN_SEQS = 1_000_000
# What was delivered lately lies around the watermark, and, while one event keeps that back, among the newest.
LATELY_SEQS = 50_000
_LATELY_S = 60


@dataclass(frozen=True, slots=True)
class Count:
    """A count, and what it is where not all was counted."""

    events: int
    bound: Literal["", "more than ", "at least "] = ""

    def __str__(self) -> str:
        return f"{self.bound}{self.events:,}"


@dataclass(frozen=True, slots=True)
class Status:
    """What the database says at one moment; times in Unix seconds."""

    table: str
    payload_type: str
    version: int
    shards: list[Row]
    watermark: int
    newest: int
    backlog: Count
    oldest: Row | None
    retry: Count
    dead: Count
    dead_by_reason: list[tuple[str, int]]
    delivered_lately: Count


@click.command()
@with_settings("--dsn-file", "--table")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def status(settings: Settings, output: str) -> None:
    """Say how the outbox stands: who relays, how far, and what waits.

    Cheap on a table of any size. Counts are exact up to 100,000.

    \b
    relay status
    relay status --output json | jq .backlog.events
    """
    with reading(settings) as reader:
        found = read(reader)
    now = time.time()
    if output == "json":
        click.echo(json_line(json.dumps(_for_programs(found, now), ensure_ascii=False)))
        return
    for line in _for_people(found, now):
        click.echo(line)
    if found.backlog.events and not any(held(shard) for shard in found.shards):
        message("no relay owns the outbox now: start one with `relay run`")
    if found.dead.events:
        message("see the dead letters with `relay list --state dead`")


def read(reader: Reader) -> Status:
    """Ask for everything."""
    watermark, newest = reader.row("cli_range")
    upper = min(newest, watermark + SCAN_SEQS)
    (pending,) = reader.row("cli_backlog", (watermark, upper, COUNT_UP_TO + 1))
    oldest = reader.rows("cli_oldest", (watermark, upper))
    (retry,) = reader.row("cli_retrying", (COUNT_UP_TO + 1,))
    reasons = [(str(reason), int(count)) for reason, count in reader.rows("cli_dead", (COUNT_UP_TO + 1,))]
    return Status(
        table=reader.tables.events,
        payload_type=reader.tables.payload_type,
        version=reader.version,
        shards=reader.rows("cli_shards"),
        watermark=watermark,
        newest=newest,
        backlog=_bounded(pending) if upper == newest or pending > COUNT_UP_TO else Count(pending, "at least "),
        oldest=oldest[0] if oldest else None,
        retry=_bounded(retry),
        dead=_bounded(sum(count for _, count in reasons)),
        dead_by_reason=reasons[:10],
        delivered_lately=_delivered_lately(reader, watermark, newest),
    )


def _bounded(count: int) -> Count:
    return Count(count) if count <= COUNT_UP_TO else Count(COUNT_UP_TO, "more than ")


def _delivered_lately(reader: Reader, watermark: int, newest: int) -> Count:
    middle = watermark + LATELY_SEQS
    ranges = [(watermark - LATELY_SEQS, middle), (max(middle, newest - LATELY_SEQS), newest)]
    count = sum(reader.row("cli_delivered_lately", (*seqs, _LATELY_S))[0] for seqs in ranges if seqs[0] < seqs[1])
    all_searched = newest <= middle + LATELY_SEQS and count < LATELY_SEQS
    return Count(count, "" if all_searched else "at least ")


def held(shard: Row) -> bool:
    """Tell whether somebody holds the lease of a shard, as `cli_shards` gives it."""
    lease_left = shard[3]
    return shard[1] is not None and lease_left is not None and lease_left > 0


def _for_people(found: Status, now: float) -> list[str]:
    lines = [
        ("outbox", f"{found.table}, payload {found.payload_type}"),
        ("schema", f"version {found.version}, current"),
        *(("owner", text) for text in _owners(found.shards)),
        ("watermark", _watermark(found.shards, now)),
        ("newest seq", f"{found.newest:,}"),
        ("backlog", str(found.backlog)),
    ]
    if found.oldest is not None:
        seq, event_id, topic, _, created_at, error = found.oldest
        lines.append(("oldest pending", f"{moment(created_at, now)}: seq {seq}, id {event_id}, {plain(topic)}"))
        if error:
            lines.append(("it waits for", plain(error)))
    lines += [
        ("delivered lately", f"{found.delivered_lately} in the last minute"),
        ("in retry", str(found.retry)),
        ("dead letters", str(found.dead)),
    ]
    width = max(len(name) for name, _ in lines)
    shown = [f"{click.style(f'{name:<{width}}', bold=True)}  {value}" for name, value in lines]
    if found.dead_by_reason:
        rows = [(f"{count:,}", reason) for reason, count in found.dead_by_reason]
        shown += ["", *table([Column("DEAD", right=True), Column("REASON", rest=True)], rows)]
    return shown


def _owners(shards: list[Row]) -> list[str]:
    """Say who owns how many shards: those that are alive first, the largest share first."""
    owned: dict[str, list[float]] = {}
    free: list[Row] = []
    for shard in shards:
        if held(shard):
            owned.setdefault(shard[1], []).append(shard[3])
        else:
            free.append(shard)
    lines = [
        f"{plain(owner)}: {_of(len(leases), shards)}, for {age(min(leases))} more unless renewed"
        for owner, leases in sorted(owned.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    ]
    if free:
        last = max((shard for shard in free if shard[1] is not None), key=lambda shard: shard[3], default=None)
        was = f"; {plain(last[1])} until {age(last[3])} ago" if last is not None else ""
        lines.append(f"nobody: {_of(len(free), shards)}{was}")
    return lines


def _of(some: int, shards: list[Row]) -> str:
    return "all shards" if some == len(shards) else f"{some} of {len(shards)} shards"


def _watermark(shards: list[Row], now: float) -> str:
    times = [shard[5] for shard in shards]
    known = [at for at in times if at is not None]
    settled = f", complete up to {moment(min(known), now)}" if known and len(known) == len(times) else ""
    return f"{min(shard[4] for shard in shards):,}{settled}"


def _for_programs(found: Status, now: float) -> dict[str, Any]:
    oldest = found.oldest
    return {
        "table": found.table,
        "payload_type": found.payload_type,
        "schema_version": found.version,
        "watermark": found.watermark,
        "newest_seq": found.newest,
        "shards": [
            {
                "shard": number,
                "owner": owner,
                "epoch": epoch,
                "lease_left_s": None if lease_left is None else round(lease_left, 3),
                "watermark": watermark,
                "watermark_at": iso(at),
            }
            for number, owner, epoch, lease_left, watermark, at in found.shards
        ],
        "backlog": _count(found.backlog),
        "oldest_pending": None
        if oldest is None
        else {
            "seq": oldest[0],
            "id": oldest[1],
            "topic": oldest[2],
            "key": oldest[3],
            "created_at": iso(oldest[4]),
            "age_s": round(now - oldest[4], 3) if abs(oldest[4]) < 1e15 else None,
            "last_error": oldest[5],
        },
        "delivered_last_minute": _count(found.delivered_lately),
        "retry": _count(found.retry),
        "dead": {
            **_count(found.dead),
            "by_reason": [{"reason": reason, "events": count} for reason, count in found.dead_by_reason],
        },
    }


def _count(count: Count) -> dict[str, Any]:
    return {"events": count.events, "exact": not count.bound}
