"""What ``relay status`` shows: lines for people, an object for programs. Pure."""

import math
from typing import Any

import click

from relay.cli.table import Column, table
from relay.operate.nats_status import NatsView, StreamView
from relay.operate.pace import Pace
from relay.operate.status import Count, Shard, Status
from relay.rules.failure.failure_class_of_old_rows import stored_class
from relay.text import about_size, age, elapsed, iso, moment, printable

_MOST_CONSUMERS = 20
# Seconds of lag from which on its line is coloured.
_LAG_S = 60.0


def for_people(found: Status, nats: NatsView | None, measured: Pace | None = None) -> list[str]:
    """Lay out everything for a terminal."""
    return [*_summary(found, nats, measured), *_tables(found, nats)]


def _summary(found: Status, nats: NatsView | None, measured: Pace | None) -> list[str]:
    now = found.at
    newer = f", newer than this relay's {found.known_version}" if found.version > found.known_version else ""
    lines: list[tuple[str, str, str | None]] = [
        ("outbox", f"{found.table}, payload {found.payload_type}, schema version {found.version}{newer}", None),
        *([("origin", found.origin, None)] if found.origin else []),
        *(("owner", *owner) for owner in owners(found.shards)),
        *([("settings", f"the relays differ in {'; '.join(found.differing)}", "yellow")] if found.differing else []),
        *(("relay says", f"{printable(relay)}: {printable(note)}", "red") for relay, note in found.notes),
        ("watermark", _watermark(found, now), None),
        ("backlog", _backlog(found, measured), None),
    ]
    if found.oldest is not None:
        oldest = found.oldest
        lines.append(("lag", age(found.lag_s), "yellow" if found.lag_s > _LAG_S else None))
        lines.append(
            (
                "oldest pending",
                f"seq {oldest.seq}, id {oldest.id}, {printable(oldest.topic)}, {moment(oldest.created_at, now)}",
                None,
            )
        )
        if oldest.last_error:
            lines.append(("it waits for", printable(oldest.last_error), "yellow"))
    lines.append(("delivered", _delivered(found, measured), None))
    lines.append(("in retry", _retry(found, now), "yellow" if found.retry.events else None))
    lines.append(("dead letters", str(found.dead), "red" if found.dead.events else None))
    if nats is not None:
        reached = nats.unreachable is None
        lines.append(
            (
                "NATS",
                f"nats-server {nats.server}" if reached else printable(nats.unreachable or ""),
                None if reached else "red",
            )
        )
    width = max(len(name) for name, *_ in lines)
    return [
        f"{click.style(f'{name:<{width}}', bold=True)}  {click.style(value, fg=colour) if colour else value}"
        for name, value, colour in lines
    ]


def owners(shards: list[Shard]) -> list[tuple[str, str | None]]:
    """Return who owns how many shards, with a colour: the largest share first, free shards last."""
    owned: dict[str, list[float]] = {}
    free: list[Shard] = []
    for shard in shards:
        if shard.held and shard.owner is not None and shard.lease_left_s is not None:
            owned.setdefault(shard.owner, []).append(shard.lease_left_s)
        else:
            free.append(shard)
    lines: list[tuple[str, str | None]] = [
        (f"{printable(owner)}: {_of(len(leases), shards)}, lease expires in {age(min(leases))}", None)
        for owner, leases in sorted(owned.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    ]
    if free:
        ended = [(shard.lease_left_s or 0.0, shard.owner) for shard in free if shard.owner is not None]
        lease_left_s, owner = max(ended, default=(0.0, ""))
        was = f"; {printable(owner)} until {age(lease_left_s)} ago" if ended else ""
        lines.append((f"nobody: {_of(len(free), shards)}{was}", "red"))
    return lines


def _of(some: int, shards: list[Shard]) -> str:
    return "all shards" if some == len(shards) else f"{some} of {len(shards)} shards"


def _watermark(found: Status, now: float) -> str:
    times = [shard.watermark_at for shard in found.shards]
    known = [at for at in times if at is not None]
    settled = f", complete up to {moment(min(known), now)}" if known and len(known) == len(times) else ""
    return f"{found.watermark:,} of {found.newest:,}{settled}"


def _backlog(found: Status, measured: Pace | None) -> str:
    count = str(found.backlog)
    by = None if measured is None else measured.backlog
    if by is None or abs(by) < 1:
        return count
    if by > 0:
        return f"{count}, growing by {by:,.0f}/s"
    return f"{count}, falling by {-by:,.0f}/s: empty in {age(found.backlog.events / -by)}"


def _delivered(found: Status, measured: Pace | None) -> str:
    if measured is not None:
        return f"{measured.delivered:,.1f}/s"
    rate = found.delivered.events / found.delivered_s
    return f"{found.delivered} in the last minute" + (f" ({rate:,.1f}/s)" if found.delivered.events else "")


def _retry(found: Status, now: float) -> str:
    if found.next_retry_at is None:
        return str(found.retry)
    due = "the next is due" if found.next_retry_at <= now else f"the next in {age(found.next_retry_at - now)}"
    return f"{found.retry}, {due}"


def _tables(found: Status, nats: NatsView | None) -> list[str]:
    """Lay out what has rows of its own; an empty line before each."""
    parts = [_waiting(found)]
    if nats is not None:
        parts += [_streams(nats), _consumers(nats, found.at)]
    parts.append(_dead(found))
    return [line for part in parts if part for line in ("", *part)]


def _waiting(found: Status) -> list[str]:
    columns = (
        Column("WAITS FOR", name=True),
        Column("FIRST SEQ", right=True),
        Column("AGE"),
        Column("TOPIC", name=True),
        Column("REASON", rest=True),
    )
    rows = [
        (
            stored_class(one.failure_class, one.reason) or "-",
            str(one.seq),
            age(elapsed(one.created_at, found.at)),
            one.topic,
            one.reason,
        )
        for one in found.waiting
    ]
    return table(columns, rows) if rows else []


def _streams(nats: NatsView) -> list[str]:
    columns = (
        Column("STREAM", name=True),
        Column("MESSAGES", right=True),
        Column("LAST", right=True),
        Column("SIZE", right=True),
        Column("ROOM", rest=True),
    )
    return table(columns, [_stream_cells(one) for one in nats.streams]) if nats.streams else []


def _consumers(nats: NatsView, now: float) -> list[str]:
    if nats.consumers is None:
        return ["how far the read models are cannot be seen: no right to ask for consumers"]
    columns = (
        Column("CONSUMER", name=True),
        Column("STREAM", name=True),
        Column("BEHIND", right=True),
        Column("UNACKED", right=True),
        Column("LAG", rest=True),
    )
    rows = [
        (
            one.consumer,
            one.stream,
            f"{one.pending:,}",
            f"{one.unacknowledged:,}",
            "-" if one.oldest_at is None else age(max(0.0, now - one.oldest_at)),
        )
        for one in nats.consumers[:_MOST_CONSUMERS]
    ]
    more = len(nats.consumers) - len(rows)
    return [
        *(table(columns, rows) if rows else []),
        *([f"and {more:,} more that are no further behind"] if more else []),
    ]


def _dead(found: Status) -> list[str]:
    rows = [(f"{count:,}", reason) for reason, count in found.dead_by_reason]
    return table((Column("DEAD", right=True), Column("REASON", rest=True)), rows) if rows else []


def _stream_cells(one: StreamView) -> tuple[str, ...]:
    if one.missing is not None:
        return one.name, "-", "-", "-", one.missing
    if one.room is None:
        room = "no limit"
    elif one.room <= 0:
        room = f"none, by {one.limit}: {'it refuses what comes' if one.refuses else 'old messages go'}"
    else:
        then = "then it refuses" if one.refuses else "then old messages go"
        room = f"{one.room:.0%} of {one.limit}, {then}"
    return one.name, f"{one.messages:,}", f"{one.last_seq:,}", about_size(one.bytes), room


def for_programs(found: Status, nats: NatsView | None, measured: Pace | None = None) -> dict[str, Any]:
    """Return the object for JSON."""
    oldest = found.oldest
    rate = found.delivered.events / found.delivered_s if measured is None else measured.delivered
    return {
        "at": iso(found.at),
        "table": found.table,
        "payload_type": found.payload_type,
        "schema_version": found.version,
        "origin": found.origin or None,
        "watermark": found.watermark,
        "newest_seq": found.newest,
        "shards": [
            {
                "shard": shard.number,
                "owner": shard.owner,
                "epoch": shard.epoch,
                "lease_left_s": None if shard.lease_left_s is None else round(shard.lease_left_s, 3),
                "watermark": shard.watermark,
                "watermark_at": iso(shard.watermark_at),
            }
            for shard in found.shards
        ],
        "differing_settings": list(found.differing),
        "notes": [{"relay": relay, "note": note} for relay, note in found.notes],
        "backlog": _count(found.backlog),
        "lag_s": _known(found.lag_s),
        "oldest_pending": None
        if oldest is None
        else {
            "seq": oldest.seq,
            "id": oldest.id,
            "topic": oldest.topic,
            "key": oldest.key,
            "created_at": iso(oldest.created_at),
            "age_s": _known(found.at - oldest.created_at),
            "last_error": oldest.last_error,
        },
        "waiting": [
            {
                "class": stored_class(one.failure_class, one.reason),
                "first_seq": one.seq,
                "topic": one.topic,
                "reason": one.reason,
            }
            for one in found.waiting
        ],
        "delivered": {**_count(found.delivered), "in_s": round(found.delivered_s, 3)},
        "delivered_per_s": round(rate, 3),
        "retry": {**_count(found.retry), "next_at": iso(found.next_retry_at)},
        "dead": {
            **_count(found.dead),
            "by_reason": [{"reason": reason, "events": count} for reason, count in found.dead_by_reason],
        },
        "nats": None if nats is None else _nats(nats, found.at),
    }


def _nats(nats: NatsView, now: float) -> dict[str, Any]:
    return {
        "reachable": nats.unreachable is None,
        "reason": nats.unreachable,
        "server": nats.server or None,
        "streams": [
            {"stream": one.name, "missing": one.missing}
            if one.missing is not None
            else {
                "stream": one.name,
                "messages": one.messages,
                "bytes": one.bytes,
                "last_seq": one.last_seq,
                "room": None if one.room is None else round(one.room, 4),
            }
            for one in nats.streams
        ],
        "consumers": None
        if nats.consumers is None
        else [
            {
                "stream": one.stream,
                "consumer": one.consumer,
                "pending": one.pending,
                "unacknowledged": one.unacknowledged,
                "lag_s": None if one.oldest_at is None else round(max(0.0, now - one.oldest_at), 3),
            }
            for one in nats.consumers
        ],
    }


def _known(seconds: float) -> float | None:
    """Return a span for JSON, which has no infinite numbers: None if it is not known."""
    return round(seconds, 3) if math.isfinite(seconds) else None


def _count(count: Count) -> dict[str, Any]:
    return {"events": count.events, "exact": not count.bound}
