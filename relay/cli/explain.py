"""``relay explain``: why is this event where it is?"""

import json
import time
from typing import TYPE_CHECKING

import click

from relay.cli.options import table_or_json, with_settings
from relay.cli.show import seq_or_id
from relay.config.settings import Settings
from relay.operate.access import reading
from relay.operate.events import EventName, ListedEvent
from relay.operate.explain import Explanation, Facts
from relay.operate.explain_facts import explain_event
from relay.rules.database.origins import Origins
from relay.text import age, iso, json_line, moment, printable

if TYPE_CHECKING:
    from relay.projection.operator import ParkedBy


@click.command("explain")
@with_settings("--dsn-file", "--table", "--server", "--creds-file")
@click.argument("identity", metavar="ID", callback=seq_or_id)
@table_or_json
def explain(settings: Settings, identity: EventName, output: str) -> None:
    """Explain why an event (by seq or id) is where it is, what it waits for, and what happens next and when.

    Looks at the outbox and, if it can be reached, at the stream. Projections that have parked the event are named, if
    their read models are in the same database.

    \b
    relay explain 4711
    relay explain 0b0c7ef0-6f0f-4f0e-9d0a-1f1f4c1b7b11 --output json | jq -r .next
    """
    from relay.projection.operator import parked_by

    with reading(settings) as reader:
        event, facts, explanation = explain_event(settings, reader, identity)
        origin = Origins(reader.row("operate/origin")[0]).of(event.seq)
        parked = parked_by(reader.cursor, origin, event.seq) if event.state == "delivered" else []
    explanation = _with_parked(explanation, parked)
    if output == "json":
        click.echo(json_line(json.dumps(_for_programs(event, facts, explanation, parked), ensure_ascii=False)))
        return
    for line in _for_people(event, facts, explanation, parked, time.time()):
        click.echo(line)


def _with_parked(explanation: Explanation, parked: "list[ParkedBy]") -> Explanation:
    """Add of an event that read models have parked what they wait for, and what an operator can do."""
    if not parked:
        return explanation
    names = ", ".join(one.projection for one in parked)
    decide = []
    for one in parked:
        # One that waits behind another follows by itself once that is decided.
        number = one.number if one.behind is None else one.behind
        decide += [f"relay projection {what} {one.projection} --number {number}" for what in ("retry", "skip")]
    now_what = f"Nothing by itself: it is not in the read model of {names} until an operator decides."
    return Explanation(explanation.why, now_what, [*decide, *explanation.do])


def _parked(one: "ParkedBy", now: float) -> str:
    text = f"{one.projection}, number {one.number}: {one.reason}"
    if one.refused_at is not None:
        often = "once" if one.refusals == 1 else f"{one.refusals:,} times"
        return f"{text} (refused {often}, {moment(one.refused_at, now)})"
    return text if one.behind is None else f"{text} (number {one.behind})"


def _for_people(
    event: ListedEvent, facts: Facts, explanation: Explanation, parked: "list[ParkedBy]", now: float
) -> list[str]:
    stream = facts.broker.stream
    if event.state == "delivered" and event.stream is None:
        where = f"no stream that is known, {moment(event.delivered_at, now)}"
    elif event.state == "delivered":
        where = f"stream {event.stream}, sequence {event.stream_seq}, {moment(event.delivered_at, now)}"
    elif facts.broker.unreachable is not None:
        where = "NATS cannot be reached from here"
    elif facts.broker.unknown is not None:
        where = f"not known: {facts.broker.unknown}"
    else:
        window = f", duplicate window {age(facts.broker.window_s)}"
        nowhere = "no stream takes it" if facts.subject is not None else "nowhere: it has no subject that may be used"
        where = nowhere if stream is None else f"stream {stream}{window}"
    lines = [
        ("event", f"seq {event.seq}, id {event.id}, key {event.key if event.key is not None else '-'}"),
        ("subject", facts.subject if facts.subject is not None else event.topic),
        ("goes to" if event.state != "delivered" else "went to", where),
        ("created", moment(event.created_at, now)),
        ("state", event.state),
        *(("why" if number == 0 else "", line) for number, line in enumerate(explanation.why)),
        *(("parked by", _parked(one, now)) for one in parked),
        ("next", explanation.next),
        *(("you can" if number == 0 else "", line) for number, line in enumerate(explanation.do)),
    ]
    width = max(len(name) for name, _ in lines)
    return [f"{click.style(f'{name:<{width}}', bold=True)}  {printable(text)}" for name, text in lines]


def _for_programs(
    event: ListedEvent, facts: Facts, explanation: Explanation, parked: "list[ParkedBy]"
) -> dict[str, object]:
    return {
        "seq": event.seq,
        "id": event.id,
        "topic": event.topic,
        "key": event.key,
        "subject": facts.subject,
        "state": event.state,
        "created_at": iso(event.created_at),
        "stream": event.stream if event.state == "delivered" else facts.broker.stream,
        "failure_class": facts.failure_class,
        "last_error": facts.last_error,
        "retry_at": iso(event.retry_at),
        "waits_for_seqs": [other.seq for other in facts.in_the_way],
        "dead_letters_ahead": list(facts.dead_ahead),
        "nats": facts.broker.unreachable or "reachable",
        "why": explanation.why,
        "next": explanation.next,
        "commands": explanation.do,
        "parked_by": [one._asdict() for one in parked],
    }
