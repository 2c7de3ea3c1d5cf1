"""``relay explain``: why is this event where it is?"""

import asyncio
import json
import time
from typing import Any, cast

import click

from relay.cli.listing import Listed
from relay.cli.options import table_or_json, with_settings
from relay.cli.show import find_one, seq_or_id
from relay.config.options import envelopes
from relay.config.settings import Settings
from relay.errors import Unreachable
from relay.event import Event
from relay.jetstream.connection import BrokerError, Connection
from relay.operate.access import Reader, Row, reading
from relay.operate.broker import broker
from relay.operate.explain import Broker, Explanation, Facts, Other, State, class_of, explain
from relay.operate.status import COUNT_UP_TO, SCAN_SEQS, held
from relay.rules.envelopes import Poison
from relay.text import age, iso, json_line, moment, printable

_SHOWN = 5
_LOOKUP_TIMEOUT_S = 3.0
# What a server takes where it cannot be asked: its default.
_MAX_PAYLOAD = 1024 * 1024


@click.command("explain", short_help="Why is this event where it is, and what is next?")
@with_settings("--dsn-file", "--table", "--server", "--creds-file")
@click.argument("identity", metavar="ID", callback=seq_or_id)
@table_or_json
def explain_event(settings: Settings, identity: tuple[int | None, str | None], output: str) -> None:
    """Say why an event (by seq or id) is where it is, what it waits for, and what happens next and when.

    Looks at the outbox and, where it can be reached, at the stream.

    \b
    relay explain 4711
    relay explain 0b0c7ef0-6f0f-4f0e-9d0a-1f1f4c1b7b11 --output json | jq -r .next
    """
    now = time.time()
    with reading(settings) as reader:
        row = find_one(reader, settings, identity)
        event = Listed._make(row[:13])
        around = _around(reader, event)
    facts = _facts(settings, row, event, around, now)
    told = explain(facts)
    if output == "json":
        click.echo(json_line(json.dumps(_for_programs(event, facts, told), ensure_ascii=False)))
        return
    for line in _for_people(event, facts, told, now):
        click.echo(line)


def _around(reader: Reader, event: Listed) -> dict[str, Any]:
    """Read what is around an event in the outbox."""
    watermark, _ = reader.row("cli_range")
    upper = min(event.seq - 1, watermark + SCAN_SEQS)
    owned = {shard[0] for shard in reader.rows("cli_shards") if held(shard)}
    (own,) = reader.row("cli_shard", (event.key, event.seq))
    found: dict[str, Any] = {
        "working": bool(owned),
        "owned": own in owned,
        "ahead": 0,
        "oldest": [],
        "in_the_way": [],
        "dead": [],
    }
    if event.state in ("pending", "retry"):
        (found["ahead"],) = reader.row("cli_backlog", (watermark, upper, COUNT_UP_TO + 1))
        found["oldest"] = reader.rows("cli_oldest", (watermark, upper))
    if event.key is not None and event.state in ("pending", "retry"):
        found["in_the_way"] = sorted(
            {
                *reader.rows("cli_key_ahead", (event.key, watermark, upper + 1, _SHOWN)),
                *reader.rows("cli_key_retry", (event.key, event.seq, _SHOWN)),
            }
        )
        found["dead"] = [seq for (seq,) in reader.rows("cli_key_dead", (event.key, event.seq, _SHOWN))]
    return found


def _facts(settings: Settings, row: Row, event: Listed, around: dict[str, Any], now: float) -> Facts:
    headers, payload = row[13], bytes(row[14])
    sent = Event(event.seq, event.id, event.topic, event.key, payload, headers, event.created_at, event.attempts, False)
    try:
        subject: str | None = envelopes(settings).make(sent, 2**62)[0]
        fault = None
    except Poison as poison:
        subject, fault = None, str(poison)
    says, max_payload = asyncio.run(_ask(settings, subject))
    if fault is None:
        try:
            envelopes(settings).make(sent, max_payload)
        except Poison as poison:
            fault = str(poison)
    oldest = around["oldest"]
    return Facts(
        seq=event.seq,
        state=cast(State, event.state),
        key=event.key,
        age_s=max(0.0, now - event.created_at),
        attempts=event.attempts,
        last_error=event.last_error,
        retry_in_s=None if event.retry_at is None else event.retry_at - now,
        subject=subject,
        subject_fault=fault,
        working=around["working"],
        owned=around["owned"],
        ahead=min(around["ahead"], COUNT_UP_TO),
        ahead_exact=around["ahead"] <= COUNT_UP_TO,
        in_the_way=tuple(Other(seq, state, error) for seq, state, error in around["in_the_way"]),
        dead_ahead=tuple(around["dead"]),
        oldest_error=oldest[0][5] if oldest else None,
        broker=says,
        ordered=settings.delivery.ordering == "key",
        on_dead=settings.failures.on_dead,
        on_misconfigured=settings.failures.on_misconfigured,
        max_attempts=settings.failures.max_attempts,
        hold_max_s=settings.failures.hold_max_s,
    )


async def _ask(settings: Settings, subject: str | None) -> tuple[Broker, int]:
    """Ask NATS about a subject; gives its answer, and how large a message may be."""
    try:
        async with broker(settings) as connection:
            try:
                return await _look(connection, subject), connection.max_payload
            except BrokerError as error:
                return Broker(unknown=str(error)), connection.max_payload
    except Unreachable as error:
        return Broker(unreachable=str(error)), _MAX_PAYLOAD


async def _look(connection: Connection, subject: str | None) -> Broker:
    facts = None if subject is None else await connection.stream_of(subject, _LOOKUP_TIMEOUT_S)
    if facts is None:
        return Broker()
    info = await connection.request(f"STREAM.INFO.{facts.name}", None, _LOOKUP_TIMEOUT_S)
    config, state = info.get("config", {}), info.get("state", {})
    return Broker(
        stream=facts.name,
        full=_full(config, state),
        sealed=bool(config.get("sealed")),
        no_ack=facts.no_ack,
        window_s=facts.duplicate_window_s,
    )


def _full(config: dict[str, Any], state: dict[str, Any]) -> str | None:
    """Say which limit of a stream is reached, where it refuses instead of letting old messages go."""
    if config.get("discard") != "new":
        return None
    for limit, held_now, what in (("max_msgs", "messages", "messages"), ("max_bytes", "bytes", "bytes")):
        most = config.get(limit, -1)
        if 0 < most <= state.get(held_now, 0):
            return f"{state[held_now]:,} of {most:,} {what} (discard=new)"
    return None


def _for_people(event: Listed, facts: Facts, told: Explanation, now: float) -> list[str]:
    stream = facts.broker.stream
    if event.state == "delivered":
        where = f"stream {event.stream}, sequence {event.stream_seq}, {moment(event.delivered_at, now)}"
    elif facts.broker.unreachable is not None:
        where = "NATS cannot be reached from here"
    elif facts.broker.unknown is not None:
        where = f"not known: {facts.broker.unknown}"
    else:
        window = f", duplicate window {age(facts.broker.window_s)}"
        where = "no stream takes it" if stream is None else f"stream {stream}{window}"
    lines = [
        ("event", f"seq {event.seq}, id {event.id}, key {event.key if event.key is not None else '-'}"),
        ("subject", facts.subject if facts.subject is not None else event.topic),
        ("goes to" if event.state != "delivered" else "went to", where),
        ("created", moment(event.created_at, now)),
        ("state", event.state),
        *(("why" if number == 0 else "", line) for number, line in enumerate(told.why)),
        ("next", told.next),
        *(("you can" if number == 0 else "", line) for number, line in enumerate(told.do)),
    ]
    width = max(len(name) for name, _ in lines)
    return [f"{click.style(f'{name:<{width}}', bold=True)}  {printable(text)}" for name, text in lines]


def _for_programs(event: Listed, facts: Facts, told: Explanation) -> dict[str, object]:
    failure = class_of(facts.last_error)
    return {
        "seq": event.seq,
        "id": event.id,
        "topic": event.topic,
        "key": event.key,
        "subject": facts.subject,
        "state": event.state,
        "created_at": iso(event.created_at),
        "stream": event.stream if event.state == "delivered" else facts.broker.stream,
        "failure_class": None if failure is None else str(failure),
        "last_error": facts.last_error,
        "retry_at": iso(event.retry_at),
        "waits_for_seqs": [other.seq for other in facts.in_the_way],
        "dead_letters_ahead": list(facts.dead_ahead),
        "nats": facts.broker.unreachable or "reachable",
        "why": told.why,
        "next": told.next,
        "commands": told.do,
    }
