"""What is wrong, why, since when, and what to do: the first page in one list, the gravest first. Pure."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlencode

from relay.console.concern import Concern, earliest
from relay.console.filter_form import command
from relay.console.stream_concerns import Outlook, class_of, holding, is_reached, nats_concerns, stream_of
from relay.operate.explain import MEANING, Facts, is_over, own_trouble
from relay.operate.held import Held
from relay.operate.nats_status import NatsView
from relay.operate.poison import meaning_of, remedy
from relay.operate.sent_again import SENT_AGAIN_SEQS, SentAgain
from relay.operate.status import Status, Waiting
from relay.outcomes import FailureClass
from relay.text import age, events_of, iso

# A longer key is in no link.
_LONGEST_KEY = 200
# Topics are subjects, and nothing was counted.
_PLAIN = Outlook("redeliver", lambda topic, key: topic, None)


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
    found: Status,
    nats: NatsView | None,
    objective_s: float,
    on_dead: str,
    outlook: Outlook = _PLAIN,
) -> list[Concern]:
    """Return what is wrong, faults first, and causes before what follows from them.

    Args:
        objective_s: Within how many seconds an event should be delivered.
        on_dead: What the key of a dead letter does: ``skip`` it or ``block``.
    """
    of_nats, told = nats_concerns(found, nats, outlook)
    parts: tuple[Iterable[Concern], ...] = (
        _owners(found),
        of_nats,
        _losses(found, outlook),
        (_wait(one, nats, outlook) for one in found.waiting if one.seq not in told),
        _dead(found, on_dead, outlook.held),
        () if _is_explained(found, nats, on_dead, outlook) else _lag(found, objective_s),
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


def _losses(found: Status, outlook: Outlook) -> Iterator[Concern]:
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
    known = {loss.stream: loss.repaired_at for loss in found.losses if loss.lost_at is None}
    told = {one.stream: one for one in outlook.again}
    for stream in sorted(known.keys() | told.keys()):
        yield _repaired(stream, known.get(stream), told.get(stream), found, outlook)


def _repaired(
    stream: str, repaired_at: float | None, again: SentAgain | None, found: Status, outlook: Outlook
) -> Concern:
    """Return what is to be known of a stream whose lost events were sent again."""
    error = f"stream {stream} lost it"
    page = f"/events?{urlencode({'state': 'any', 'error': error})}"
    also: tuple[str, ...] = (page,)
    if again is None:
        what, why = "had lost events, and they were sent again", "They are not among the newest events."
    else:
        what = f"had lost {events_of(again.events)}, and {'it was' if again.events == 1 else 'they were'} sent again"
        of_all = "" if found.newest <= SENT_AGAIN_SEQS else f" Counted among the newest {SENT_AGAIN_SEQS:,} seqs."
        waits = (
            f" {again.pending:,} of them {'is' if again.pending == 1 else 'are'} not sent yet." if again.pending else ""
        )
        keys = f"{again.keys:,} key{'' if again.keys == 1 else 's'}"
        behind = (
            f"{again.behind:,} of them, of {keys}, {'stands' if again.behind == 1 else 'stand'} behind newer events of"
            " their keys: consumers read an older state after a newer one."
            if again.behind
            else "None of them stands behind a newer event of its key."
        )
        why = f"{behind}{waits}{of_all}"
        if again.key is not None and len(again.key) <= _LONGEST_KEY:
            also = (page, f"/key?{urlencode({'key': again.key})}")
    return Concern(
        "warning",
        f"Stream {stream} {what}",
        f"{why} This is shown for a day.",
        repaired_at if again is None or again.since is None else again.since,
        f"Let consumers of these keys know, or rebuild what they keep. {_told_by(sends_seq=outlook.sends_seq)}"
        " Consumers beyond the end of the stream have to be made again. And find out what happened to NATS.",
        command("list", "--state", "any", "--error", error),
        "/streams",
        "OutboxRelayStreamLoss",
        also=also,
    )


def _told_by(*, sends_seq: bool) -> str:
    """Return by what a consumer tells an older state from a newer one."""
    if sends_seq:
        return "Those that go by the header Outbox-Seq can tell."
    return (
        "They cannot tell by the header Outbox-Seq: by the settings of this console it is not sent (headers.seq)."
        " A version or a time in the payload tells, else the place of the events on the page of their key."
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


def runbooks_of_event(facts: Facts) -> list[str]:
    """Return the alerts whose runbooks are about what keeps an event where it is; none: nothing is wrong with it."""
    if facts.state == "dead":
        return [dead_runbook(facts.on_dead), "OutboxRelayDeadLetters"]
    if facts.overtaken is not None:
        return ["OutboxRelayStreamLoss"]
    if facts.state not in ("pending", "retry"):
        return []
    if not facts.working:
        return ["OutboxRelayDown"]
    if not facts.owned:
        return ["OutboxRelayShardsUnowned"]
    is_blocked = facts.ordered and facts.dead_ahead and facts.on_dead == "block"
    found = ["OutboxRelayKeyBlocked"] if is_blocked else []
    if facts.broker.unreachable is not None:
        own = own_trouble(facts)
        return ["OutboxRelayOutage", *([] if own is None else [runbook_of(own)]), *found]
    if found:
        return found
    if facts.broker.full is not None:
        return ["OutboxRelayCapacity"]
    if facts.broker.unknown is None and facts.broker.stream is None:
        return ["OutboxRelayMisconfigured" if facts.subject_fault is None else "OutboxRelayDeadLetters"]
    return [] if facts.last_error is None or is_over(facts) else [runbook_of(facts.failure_class)]


def _wait(waiting: Waiting, nats: NatsView | None, outlook: Outlook) -> Concern:
    failure = class_of(waiting)
    meaning = "" if failure is None else f" Class {failure}: {meaning_of(failure, waiting.reason, MEANING)}."
    stream = stream_of(waiting.topic, None, nats, outlook.subject_of)
    where = "" if stream is None else f", which goes to stream {stream.name}"
    count = holding(waiting, nats, outlook)
    many = "" if count is None else f" {str(count).capitalize()} wait."
    return Concern(
        "fault",
        f"Events wait: {waiting.reason}",
        f"First noted on event {waiting.seq} of {waiting.topic}{where}.{many}{meaning}",
        earliest([waiting.created_at]),
        "Look at the event." if failure is None else _DO[failure],
        command("explain", str(waiting.seq)),
        f"/events/{waiting.seq}",
        runbook_of(failure),
    )


def _is_explained(found: Status, nats: NatsView | None, on_dead: str, outlook: Outlook) -> bool:
    """Report whether why the oldest pending event waits is told already: then its age is no trouble of its own."""
    oldest = found.oldest
    if oldest is None or not found.owned or any(one.seq == oldest.seq for one in found.waiting):
        return True
    if found.dead.events and on_dead == "block" and outlook.held is not None and outlook.held.behind is not None:
        return True
    if nats is not None and nats.unreachable is not None:
        return not is_reached(found, nats)
    stream = stream_of(oldest.topic, oldest.key, nats, outlook.subject_of)
    return stream is not None and (stream.is_full or stream.gone)


def _lag(found: Status, objective_s: float) -> Iterator[Concern]:
    oldest = found.oldest
    if oldest is None or found.lag_s <= objective_s:
        return
    since = earliest([oldest.created_at])
    yield Concern(
        "fault",
        f"The oldest pending event is {age(found.lag_s)} old"
        if since is not None
        else f"The age of the oldest pending event is unknown: its created_at is {iso(oldest.created_at)}",
        f"Events should be delivered within {age(objective_s)}; {found.backlog} "
        f"{'is' if found.backlog.events == 1 and not found.backlog.bound else 'are'} pending.",
        since,
        "See what it waits for.",
        command("explain", str(oldest.seq)),
        f"/events/{oldest.seq}",
        "OutboxRelayLagOverObjective",
    )


def dead_runbook(on_dead: str) -> str:
    """Return the alert whose runbook is about dead letters that nobody has decided about."""
    return "OutboxRelayKeyBlocked" if on_dead == "block" else "OutboxRelayDeadLettersUndecided"


def _dead(found: Status, on_dead: str, held: Held | None) -> Iterator[Concern]:
    if not found.dead.events:
        return
    reasons = "; ".join(f"{one.events:,}: {one.reason}{_decides(one.reason)}" for one in found.dead_by_reason[:3])
    if reasons and found.reasons_of is not None:
        reasons = f"Of the newest {found.reasons_of:,}, {reasons}"
    blocks = on_dead == "block"
    behind = None if held is None else held.of(lambda topic: topic.blocked)
    waits = "What comes later of their keys waits behind them"
    waits += "." if behind is None or not behind.events else f": {behind}."
    yield Concern(
        "fault" if blocks else "warning",
        f"{found.dead.bound.capitalize()}{events_of(found.dead.events, 'dead letter')} without a decision",
        reasons + ("." if reasons else "") + (f" {waits}" if blocks else ""),
        found.dead_since,
        "Remove the cause, then retry them; discard what must never be sent.",
        command("dead", "summary"),
        "/dead",
        dead_runbook(on_dead),
    )


def _decides(reason: str) -> str:
    """Return which setting decides whether dead letters with a reason can be sent, empty if none does."""
    decides = remedy(reason)
    return "" if decides is None else f" ({decides.setting} decides)"


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
