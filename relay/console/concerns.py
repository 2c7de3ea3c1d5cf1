"""What is wrong, why, since when, and what to do: the first page in one list, the gravest first. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from relay.console.filter_form import command
from relay.operate.explain import MEANING, Facts
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


def concerns(
    found: Status, nats: NatsView | None, objective_s: float, on_dead: str, on_loss: str = "redeliver"
) -> list[Concern]:
    """Return what is wrong, faults first, and causes before what follows from them.

    Args:
        objective_s: Within how many seconds an event should be delivered.
        on_dead: What the key of a dead letter does: ``skip`` it or ``block``.
        on_loss: Whether what a stream has lost is sent again (``redeliver``) or waits for an operator (``alert``).
    """
    parts = (
        _owners(found),
        _nats(found, nats, on_loss),
        _losses(found),
        (_wait(one) for one in found.waiting),
        _dead(found, on_dead),
        _lag(found, objective_s),
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


def _nats(found: Status, nats: NatsView | None, on_loss: str) -> Iterator[Concern]:
    if nats is None:
        return
    if nats.unreachable is not None:
        # What has waited for it alone may have begun to before somebody looked.
        waits = found.oldest is not None and found.oldest.last_error is None
        times = [nats.since, found.oldest.created_at if found.oldest is not None and waits else None]
        yield Concern(
            "fault",
            "NATS cannot be reached from here",
            f"{nats.unreachable}. Nothing is delivered while the relays cannot reach it either.",
            min((one for one in times if one is not None), default=None),
            "See whether NATS runs and lets this console in. The relays wait, count no attempt, and go on then.",
            command("doctor"),
            "/streams",
            "OutboxRelayOutage",
        )
        return
    full = [one for one in nats.streams if _is_short_of_room(one) and (one.room or 0.0) <= 0]
    refused = [one.created_at for one in found.waiting if _class_of(one) is FailureClass.CAPACITY]
    for stream in nats.streams:
        if stream.missing is not None:
            yield _gone(stream, on_loss) if stream.gone else _unknown(stream)
        elif _is_short_of_room(stream):
            yield _room(stream, min(refused, default=None) if full == [stream] else None)


def _is_short_of_room(stream: StreamView) -> bool:
    return stream.missing is None and stream.refuses and stream.room is not None and stream.room < _LITTLE_ROOM


def _gone(stream: StreamView, on_loss: str) -> Concern:
    took = [word for subject in stream.subjects for word in ("--subject", subject)] or ["--subject", "SUBJECT"]
    subjects = "" if stream.subjects else " (the topics of its events are among those delivered)"
    then = (
        "What it had lost is then sent again from the outbox, each key in its order."
        if on_loss == "redeliver"
        else "What it had lost is then found missing, and waits for `relay verify --redeliver` (healing.on_loss)."
    )
    return Concern(
        "fault",
        f"Stream {stream.name} is gone",
        f"NATS says: {stream.missing}. Its events wait, and those that it had stored are lost with it.",
        stream.since,
        f"Make it again with the subjects that it had{subjects}. {then}",
        command("stream", "create", stream.name, *took),
        "/streams",
        "OutboxRelayStreamLoss",
    )


def _unknown(stream: StreamView) -> Concern:
    return Concern(
        "fault",
        f"Nothing is known of stream {stream.name}",
        stream.missing or "",
        stream.since,
        "See whether NATS answers, and whether this console may ask for the stream.",
        command("stream", "show", stream.name),
        "/streams",
        "OutboxRelayStreamLoss",
    )


def _room(stream: StreamView, since: float | None) -> Concern:
    left = max(0.0, stream.room or 0.0)
    option = {"max_bytes": "--max-bytes", "max_msgs": "--max-msgs"}[stream.limit or "max_bytes"]
    return Concern(
        "fault" if left <= 0 else "warning",
        f"Stream {stream.name} is {'full' if left <= 0 else 'nearly full'}",
        f"{left:.0%} of its {stream.limit} of {stream.limit_at:,} is left; when it is full it refuses new messages.",
        since,
        "Raise its limit, for example to twice as much, or let consumers that remove messages catch up.",
        command("stream", "edit", stream.name, option, str(max(1, 2 * stream.limit_at))),
        "/streams",
        "OutboxRelayCapacity",
    )


def _losses(found: Status) -> Iterator[Concern]:
    for loss in found.losses:
        if loss.lost_at is not None:
            yield Concern(
                "fault",
                f"Stream {loss.stream} has lost events that it had acknowledged",
                "They wait for an operator: healing.on_loss says so, or what was sent again was missing again.",
                loss.lost_at,
                "Look at what is lost with this command; with --redeliver it has them sent again.",
                command("verify", "--stream", loss.stream),
                "/streams",
                "OutboxRelayStreamLoss",
            )
        else:
            yield Concern(
                "warning",
                f"Stream {loss.stream} had lost events, and they were sent again",
                "It held less than it had acknowledged. This is shown until it has stored a later event.",
                loss.repaired_at,
                "Find out what happened to NATS. Consumers beyond the end of the stream have to be made again.",
                command("list", "--state", "any", "--error", f"stream {loss.stream} lost it"),
                "/streams",
                "OutboxRelayStreamLoss",
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


def runbook_of_event(facts: Facts) -> str | None:
    """Return the alert whose runbook is about what keeps an event where it is; None: nothing is wrong with it."""
    if facts.state == "dead":
        return dead_runbook(facts.on_dead)
    if facts.state not in ("pending", "retry"):
        return None
    if not facts.working:
        return "OutboxRelayDown"
    if not facts.owned:
        return "OutboxRelayShardsUnowned"
    if facts.broker.unreachable is not None:
        return "OutboxRelayOutage"
    if facts.ordered and facts.dead_ahead and facts.on_dead == "block":
        return "OutboxRelayKeyBlocked"
    if facts.broker.full is not None:
        return "OutboxRelayCapacity"
    if facts.broker.unknown is None and facts.broker.stream is None:
        return "OutboxRelayMisconfigured" if facts.subject_fault is None else "OutboxRelayDeadLetters"
    return None if facts.last_error is None else runbook_of(facts.failure_class)


def _class_of(waiting: Waiting) -> FailureClass | None:
    return stored_class(waiting.failure_class, waiting.reason)


def _wait(waiting: Waiting) -> Concern:
    failure = _class_of(waiting)
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
    oldest = found.oldest
    # Why that one waits is said already if it is the first with its reason.
    if oldest is None or found.lag_s <= objective_s or any(one.seq == oldest.seq for one in found.waiting):
        return
    yield Concern(
        "fault",
        f"The oldest pending event is {age(found.lag_s)} old",
        f"Events should be delivered within {age(objective_s)}; {found.backlog} "
        f"{'is' if found.backlog.events == 1 and not found.backlog.bound else 'are'} pending.",
        oldest.created_at,
        "See what it waits for.",
        command("explain", str(oldest.seq)),
        f"/events/{oldest.seq}",
        "OutboxRelayLagOverObjective",
    )


def dead_runbook(on_dead: str) -> str:
    """Return the alert whose runbook is about dead letters that nobody has decided about."""
    return "OutboxRelayKeyBlocked" if on_dead == "block" else "OutboxRelayDeadLettersUndecided"


def _dead(found: Status, on_dead: str) -> Iterator[Concern]:
    if not found.dead.events:
        return
    reasons = "; ".join(f"{reason.events:,}: {reason.reason}" for reason in found.dead_by_reason[:3])
    blocks = on_dead == "block"
    yield Concern(
        "fault" if blocks else "warning",
        f"{found.dead.bound}{events_of(found.dead.events, 'dead letter')} without a decision",
        reasons + ("." if reasons else "") + (" What comes later of their keys waits behind them." if blocks else ""),
        found.dead_since,
        "Remove the cause, then retry them; discard what must never be sent.",
        command("dead", "summary"),
        "/dead",
        dead_runbook(on_dead),
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
