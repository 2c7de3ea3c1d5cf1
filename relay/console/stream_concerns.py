"""What is wrong with NATS and its streams, and which of the events that wait do so for that. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from relay.console.concern import Begins, Concern, earliest
from relay.console.filter_form import command
from relay.operate.create_command import create_command
from relay.operate.gone_stream import SubjectOf, taken_by
from relay.operate.held import Held, HeldTopic, Holding, held_for
from relay.operate.message_size import TooSmall, command_to_raise, too_small
from relay.operate.nats_status import NatsView, StreamView
from relay.operate.sent_again import SentAgain
from relay.operate.status import Status, Waiting
from relay.operate.stream_room import Limit, of_messages, option_to_raise, raised_limit
from relay.outcomes import FailureClass
from relay.rules.failure.failure_class_of_old_rows import stored_class
from relay.text import about_size, age, events_of

# A stream with less room than this will soon be full, as will one that is full in less than this time if it grows on.
LITTLE_ROOM = 0.1
SOON_S = 3600.0
# What grows by fewer messages a second is not said to grow.
_LEAST_RATE = 0.05
# A delivery that much later than NATS was found away: the relays reach it.
_REACHED_S = 3.0


class Outlook(NamedTuple):
    """What streams are seen by.

    Attributes:
        on_loss: Whether what a stream has lost is sent again (``redeliver``) or waits for an operator (``alert``).
        held: What is pending by topic; None if it was not counted.
        again: What streams had lost and was sent again.
        sends_seq: Whether messages carry the header ``Outbox-Seq``, as far as the settings of the console tell.
    """

    on_loss: str
    subject_of: SubjectOf
    held: Held | None
    again: tuple[SentAgain, ...] = ()
    sends_seq: bool = False


def class_of(waiting: Waiting) -> FailureClass | None:
    """Return the class of the failure for which an event waits."""
    return stored_class(waiting.failure_class, waiting.reason)


def stream_of(topic: str, key: str | None, nats: NatsView | None, subject_of: SubjectOf) -> StreamView | None:
    """Return the stream that takes a topic, or took it when it was seen last; None if none is known to."""
    subject = None if nats is None else subject_of(topic, key)
    if nats is None or subject is None:
        return None
    name = taken_by(subject, {one.name: one.subjects for one in nats.streams})
    return next((one for one in nats.streams if one.name == name), None)


def holding(waiting: Waiting, nats: NatsView | None, outlook: Outlook) -> Holding | None:
    """Return what waits for the same as an event that was noted, the event itself included; None if nobody counted."""
    if outlook.held is None:
        return None
    failure = class_of(waiting)
    own = stream_of(waiting.topic, None, nats, outlook.subject_of)

    def same(topic: HeldTopic) -> bool:
        if topic.blocked:
            return False
        if failure is FailureClass.OUTAGE and nats is not None and nats.unreachable is not None:
            return True
        if failure not in (FailureClass.CAPACITY, FailureClass.OUTAGE) or own is None:
            return topic.topic == waiting.topic
        other = stream_of(topic.topic, topic.key, nats, outlook.subject_of)
        return other is not None and other.name == own.name

    return outlook.held.of(same)


def small_streams(found: Status, nats: NatsView | None, subject_of: SubjectOf) -> list[TooSmall]:
    """Return the streams that refuse events for their size, as NATS said last."""
    if nats is None:
        return []
    return too_small(found.large, [one for one in nats.streams if one.missing is None], subject_of)


def nats_concerns(found: Status, nats: NatsView | None, outlook: Outlook) -> tuple[list[Concern], set[int]]:
    """Return what is wrong with NATS, and the seqs of events whose wait that explains: no card of their own is due."""
    if nats is None:
        return [], set()
    if nats.unreachable is not None:
        theirs = [one for one in found.waiting if class_of(one) is FailureClass.OUTAGE]
        known, told = ([], set()) if nats.seen_at is None else _of_streams(found, nats, outlook)
        said = [_as_said(one, age(max(0.0, found.at - (nats.seen_at or found.at)))) for one in known]
        return [_away(found, nats, theirs, outlook), *said], told | {one.seq for one in theirs}
    return _of_streams(found, nats, outlook)


def _as_said(one: Concern, ago: str) -> Concern:
    """Return what was wrong with a stream when NATS could be asked last: nobody can mend it before it can be again."""
    return replace(
        one, why=f"As NATS said {ago} ago: {one.why}", do=f"To be done when NATS can be reached again: {one.do}"
    )


def _of_streams(found: Status, nats: NatsView, outlook: Outlook) -> tuple[list[Concern], set[int]]:
    """Return what is wrong with streams, and the seqs of events whose wait that explains."""
    listed: list[Concern] = []
    told: set[int] = set()
    for stream in nats.streams:
        if stream.missing is not None:
            theirs = _of(stream, found, nats, outlook, FailureClass.CONFIGURATION) if stream.gone else []
            if stream.gone:
                listed.append(_gone(stream, theirs, outlook))
            elif nats.unreachable is None:
                listed.append(_unknown(stream))
        elif stream.refuses and stream.room is not None:
            theirs = _of(stream, found, nats, outlook, FailureClass.CAPACITY) if stream.is_full else []
            listed += _room(stream, theirs, outlook)
        else:
            theirs = []
        told |= {one.seq for one in theirs}
    listed += map(_small, small_streams(found, nats, outlook.subject_of))
    return listed, told


def _of(stream: StreamView, found: Status, nats: NatsView, outlook: Outlook, failure: FailureClass) -> list[Waiting]:
    """Return what is noted to wait for a stream with a failure of some class."""
    return [
        one
        for one in found.waiting
        if class_of(one) is failure and stream_of(one.topic, None, nats, outlook.subject_of) == stream
    ]


def _waits(theirs: Sequence[Waiting]) -> str:
    """Return what is written on the first event that waits for something."""
    if not theirs:
        return ""
    first = min(theirs, key=lambda one: one.seq)
    return f" Noted on event {first.seq} of {first.topic}: {first.reason}."


def _pages(theirs: Sequence[Waiting]) -> tuple[str, ...]:
    return (f"/events/{min(one.seq for one in theirs)}",) if theirs else ()


def _count(stream: StreamView, outlook: Outlook) -> Holding | None:
    """Return how many events wait for a stream."""
    if outlook.held is None:
        return None
    return held_for(stream.name, stream.subjects, outlook.held, outlook.subject_of)


def is_reached(found: Status, nats: NatsView) -> bool:
    """Report whether the relays reach NATS although this console does not."""
    last = found.last_delivered_at
    return last is not None and nats.since is not None and last > nats.since + _REACHED_S


def _away(found: Status, nats: NatsView, theirs: Sequence[Waiting], outlook: Outlook) -> Concern:
    # What waits for nothing else was created before NATS was seen to be away.
    waits = [one.created_at for one in theirs]
    if found.oldest is not None and found.oldest.last_error is None:
        waits.append(found.oldest.created_at)
    waiting_since, seen = earliest(waits), nats.since
    last = found.last_delivered_at
    reached = is_reached(found, nats)
    began, begins = _began(waiting_since, seen)
    if not reached and last is not None and found.backlog.events and (began is None or last < began):
        began, begins = last, "Nothing was delivered since"
    if reached and last is not None:
        flow = f"The relays reach it: the last event was delivered {age(found.at - last)} ago. This console does not."
    else:
        when = "" if last is None else f"; the last event was delivered {age(found.at - last)} ago"
        flow = f"Nothing is delivered while the relays cannot reach it either{when}."
    count = "" if outlook.held is None else f" {outlook.held.of(lambda topic: not topic.blocked)} wait."
    return Concern(
        "fault",
        "NATS cannot be reached from here",
        f"{nats.unreachable}. {flow}{count}{_waits(theirs)}",
        began,
        "See whether NATS runs and lets this console in. The relays wait, count no attempt, and go on then.",
        command("doctor"),
        "/streams",
        "OutboxRelayOutage",
        begins,
        _pages(theirs),
    )


def _began(known: float | None, seen: float | None) -> tuple[float | None, Begins]:
    """Return since when something is: what the outbox tells, if that is earlier than what was seen from here."""
    return (known, "Since") if known is not None and (seen is None or known < seen) else (seen, "Seen since")


def _gone(stream: StreamView, theirs: Sequence[Waiting], outlook: Outlook) -> Concern:
    then = (
        "What it had lost is then sent again from the outbox, in the order of each key, behind what is stored before "
        "the loss is seen: newer events of a key may stand before what was lost of it."
        if outlook.on_loss == "redeliver"
        else "What it had lost is then found missing, and waits for relay verify --redeliver (healing.on_loss)."
    )
    count = _count(stream, outlook) if stream.subjects else None
    events = "Its events wait" if count is None else f"{str(count).capitalize()} wait for it"
    began, begins = _began(earliest(one.created_at for one in theirs), stream.since)
    limits = "the limits that it had" if stream.limits is not None else "its limits, which this console never saw"
    make = (
        f"Make it again with the subjects that it had (the command has those that are known) and {limits}."
        if stream.subjects
        else "Make it again with relay stream create; neither its subjects nor its limits are known here."
    )
    return Concern(
        "fault",
        f"Stream {stream.name} is gone",
        f"NATS says: {stream.missing}. {events}, and those that it had stored are lost with it.{_waits(theirs)}",
        began,
        f"{make} {then}",
        create_command(stream.name, stream.subjects, stream.limits) if stream.subjects else command("doctor"),
        "/streams",
        "OutboxRelayStreamLoss",
        begins,
        _pages(theirs),
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
        "Seen since",
    )


def _small(one: TooSmall) -> Concern:
    dead = events_of(one.events, "dead letter")
    return Concern(
        "fault",
        f"Stream {one.stream} refuses events for their size",
        f"It takes messages of {one.limit:,} bytes (max_msg_size); the largest of {dead} "
        f"of {', '.join(one.topics)} takes {one.size:,}. More of that size become dead letters likewise.",
        one.since,
        "Raise its limit, then retry the dead letters.",
        command_to_raise(one.stream, one.size),
        "/streams",
        "OutboxRelayDeadLetters",
        also=("/dead", "/doctor"),
    )


def _room(stream: StreamView, theirs: Sequence[Waiting], outlook: Outlook) -> Iterator[Concern]:
    left, full_in_s = max(0.0, stream.room or 0.0), stream.full_in_s
    is_soon = full_in_s is not None and full_in_s < SOON_S
    if left >= LITTLE_ROOM and not is_soon:
        return
    count = _count(stream, outlook)
    waiting = "" if count is None or not count.events else f" {str(count).capitalize()} wait."
    verdict = "is full" if stream.is_full else "is nearly full" if left < LITTLE_ROOM else "will soon be full"
    yield Concern(
        "fault" if stream.is_full else "warning",
        f"Stream {stream.name} {verdict}",
        f"{left:.0%} of its {stream.limit} of {stream.limit_at:,} is left; when it is full it refuses new messages."
        f"{growth_of(stream)}{waiting}{_waits(theirs)}",
        stream.last_at if stream.is_full else None,
        f"Raise its limit: this leaves room for what waits{_time_left(stream)}. Or let consumers that remove messages "
        "catch up, or have it drop what is old (--max-age), which deletes messages.",
        raise_command(stream, count),
        "/streams",
        "OutboxRelayCapacity",
        also=_pages(theirs),
    )


def _time_left(stream: StreamView) -> str:
    """Return for how long a raised limit lasts."""
    if stream.growth is None:
        return "; how fast it grows is not known yet, so look again in a minute"
    return " and for four hours at least of what is inserted" if stream.growth > 0 else " and a reserve"


def growth_of(stream: StreamView) -> str:
    """Return how fast a stream grows and when it will be full, as a sentence; empty if it does not, or nobody knows."""
    if not stream.growth or stream.growth <= 0:
        return ""
    if stream.limit != "max_bytes" and stream.growth < _LEAST_RATE:
        return ""
    rate = f"{about_size(round(stream.growth))}" if stream.limit == "max_bytes" else f"{stream.growth:,.1f} messages"
    when = (
        ""
        if stream.full_in_s is None or stream.is_full
        else f": full in about {age(60 * max(1, round(stream.full_in_s / 60)))}"
    )
    return f" It grows by {rate} a second{when}."


def raise_command(stream: StreamView, waiting: Holding | None) -> str:
    """Return the command that makes room in a stream for what it holds, for what waits, and for a reserve.

    Args:
        waiting: What waits for it; None if that is not known.
    """
    limit: Limit = "max_msgs" if stream.limit == "max_msgs" else "max_bytes"
    more = None if waiting is None else of_messages(waiting.events, limit, stream.messages, stream.bytes)
    option = option_to_raise(limit, raised_limit(stream.used, stream.limit_at, more, stream.growth))
    return f"{command('stream', 'edit', stream.name)} {option}"
