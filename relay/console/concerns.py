"""What is wrong, why, since when, and what to do: the first page in one list, the gravest first. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from relay.console.filter_form import command
from relay.operate.explain import MEANING
from relay.operate.nats_status import NatsView, StreamView
from relay.operate.status import Status, Waiting
from relay.outcomes import FailureClass
from relay.rules.failure_class_of_old_rows import stored_class
from relay.text import age, events_of

# A stream with less room than this will soon be full.
_LITTLE_ROOM = 0.1


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that is not as it should be.

    Attributes:
        level: ``fault``: events wait or are lost; ``warning``: an operator should look.
        since: Unix seconds, None if nobody knows.
        do: What an operator does about it.
        command: The command that shows more.
        page: The page that shows more, below the base path.
        runbook: The alert whose runbook is about it.
    """

    level: Literal["fault", "warning"]
    what: str
    why: str
    since: float | None
    do: str
    command: str
    page: str
    runbook: str


def unreachable(fault: str) -> Concern:
    """Return what is wrong if PostgreSQL cannot be asked."""
    return Concern(
        "fault",
        "The outbox cannot be read",
        fault,
        None,
        "See whether PostgreSQL runs and lets this console in. The relays wait for it likewise and lose nothing.",
        command("doctor"),
        "/doctor",
        "OutboxRelayOutage",
    )


def concerns(found: Status, nats: NatsView | None, objective_s: float, on_dead: str) -> list[Concern]:
    """Return what is wrong, faults first.

    Args:
        objective_s: Within how many seconds an event should be delivered.
        on_dead: What the key of a dead letter does: ``skip`` it or ``block``.
    """
    parts = (
        _owners(found),
        _nats(found, nats),
        (_wait(found, one) for one in found.waiting),
        _lag(found, objective_s),
        _dead(found, on_dead),
        _version(found),
    )
    listed = [concern for part in parts for concern in part]
    return sorted(listed, key=lambda one: one.level)


def _owners(found: Status) -> Iterator[Concern]:
    free = [shard for shard in found.shards if not shard.held]
    if not free:
        return
    ended = [found.at + shard.lease_left_s for shard in free if shard.lease_left_s is not None]
    since = max(ended, default=None)
    if len(free) == len(found.shards):
        yield Concern(
            "fault" if found.backlog.events else "warning",
            "No relay is at work",
            "Nobody holds the lease of any shard: nothing is delivered.",
            since,
            "Start a relay, or see in its log why it ended.",
            command("run"),
            "/relays",
            "OutboxRelayDown",
        )
    else:
        yield Concern(
            "fault",
            f"{len(free)} of {len(found.shards)} shards have no relay",
            "Their events wait. Relays that run take them within seconds after the lease has run out.",
            since,
            "If it stays, see in the logs of the relays why they do not take them.",
            command("status"),
            "/relays",
            "OutboxRelayShardsUnowned",
        )


def _nats(found: Status, nats: NatsView | None) -> Iterator[Concern]:
    if nats is None:
        return
    if nats.unreachable is not None:
        yield Concern(
            "fault",
            "NATS cannot be reached from here",
            nats.unreachable,
            None if found.oldest is None else found.oldest.created_at,
            "See whether it runs and lets this console in. The relays wait and count no attempt.",
            command("doctor"),
            "/doctor",
            "OutboxRelayOutage",
        )
        return
    for stream in nats.streams:
        if stream.missing is not None:
            yield Concern(
                "fault",
                f"Nothing is known of stream {stream.name}",
                stream.missing,
                None,
                "Make it again if it was deleted: what it had lost is sent again from the outbox.",
                command("verify"),
                "/streams",
                "OutboxRelayStreamLoss",
            )
        elif stream.room is not None and stream.room < _LITTLE_ROOM and stream.refuses:
            yield _room(stream)


def _room(stream: StreamView) -> Concern:
    full = (stream.room or 0.0) <= 0
    return Concern(
        "fault" if full else "warning",
        f"Stream {stream.name} is {'full' if full else 'nearly full'}",
        f"{max(0.0, stream.room or 0.0):.0%} of {stream.limit} is left, and it refuses new messages when it is full.",
        None,
        "Raise its limit, or let consumers that remove messages catch up.",
        command("stream", "edit", stream.name),
        "/streams",
        "OutboxRelayCapacity",
    )


_RUNBOOK = {
    FailureClass.OUTAGE: "OutboxRelayOutage",
    FailureClass.CAPACITY: "OutboxRelayCapacity",
    FailureClass.CONFIGURATION: "OutboxRelayMisconfigured",
}
_DO = {
    FailureClass.OUTAGE: "It goes on by itself when the way is there again.",
    FailureClass.CAPACITY: "Make room in the stream or the account; it goes on by itself then.",
    FailureClass.CONFIGURATION: "Create the stream or grant the right; it goes on by itself then.",
    FailureClass.POISON: "Look at the event: it becomes a dead letter.",
    FailureClass.UNKNOWN: "Look at the event: it is tried again with growing pauses.",
}


def runbook_of(failure: FailureClass | None) -> str:
    """Return the alert whose runbook is about what waits for a failure; None: its class is not known."""
    return "OutboxRelayLagOverObjective" if failure is None else _RUNBOOK.get(failure, "OutboxRelayDeadLetters")


def _wait(found: Status, waiting: Waiting) -> Concern:
    failure = stored_class(waiting.failure_class, waiting.reason)
    meaning = "" if failure is None else f" Class {failure}: {MEANING[failure]}."
    return Concern(
        "fault",
        f"Events wait: {waiting.reason}",
        f"First noted on event {waiting.seq} of {waiting.topic}.{meaning}",
        waiting.created_at,
        "Look at the event." if failure is None else _DO[failure],
        command("explain", str(waiting.seq)),
        f"/events/{waiting.seq}",
        runbook_of(failure),
    )


def _lag(found: Status, objective_s: float) -> Iterator[Concern]:
    if found.oldest is not None and found.lag_s > objective_s:
        yield Concern(
            "fault",
            f"The oldest pending event is {age(found.lag_s)} old",
            f"Events should be delivered within {age(objective_s)}; {found.backlog} are pending.",
            found.oldest.created_at,
            "See what it waits for.",
            command("explain", str(found.oldest.seq)),
            f"/events/{found.oldest.seq}",
            "OutboxRelayLagOverObjective",
        )


def _dead(found: Status, on_dead: str) -> Iterator[Concern]:
    if not found.dead.events:
        return
    reasons = "; ".join(f"{reason.events:,}: {reason.reason}" for reason in found.dead_by_reason[:3])
    blocks = on_dead == "block"
    yield Concern(
        "fault" if blocks else "warning",
        f"{found.dead.bound}{events_of(found.dead.events, 'dead letter')} without a decision",
        reasons + (" Their keys wait behind them." if blocks else ""),
        None,
        "Remove the cause, then retry them; discard what must never be sent.",
        command("dead", "summary"),
        "/dead",
        "OutboxRelayKeyBlocked" if blocks else "OutboxRelayDeadLettersUndecided",
    )


def _version(found: Status) -> Iterator[Concern]:
    if found.version > found.known_version:
        yield Concern(
            "warning",
            "The outbox is newer than this console",
            f"Schema version {found.version}; this console knows {found.known_version}.",
            None,
            "Upgrade the console with the relays.",
            command("version"),
            "/about",
            "OutboxRelayDown",
        )
