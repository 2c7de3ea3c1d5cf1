"""Why an event is where it is, and what happens next. Pure: what is known of it is handed in.

Two sources speak: the row and its neighbours in the outbox, and what NATS says now of its subject. What a running
relay has in memory is not asked for; its traces in the table are.
"""

from dataclasses import dataclass, field
from typing import Literal

from relay.operate.create_command import create_command
from relay.operate.hindrances import Hindrance
from relay.operate.lost_place import Overtaken
from relay.operate.message_size import command_to_raise
from relay.operate.poison import NEVER, meaning_of, refused_for_size, remedy
from relay.operate.steering_headers import Allowing
from relay.operate.subject_facts import Broker
from relay.outcomes import FailureClass
from relay.text import age

State = Literal["pending", "retry", "dead", "discarded", "delivered"]

MEANING = {
    FailureClass.OUTAGE: "the way to the broker is not there: the relay waits, and counts no attempt",
    FailureClass.CAPACITY: "the stream or account is full: the relay waits, and counts no attempt",
    FailureClass.CONFIGURATION: "stream or rights are not set up for it: its subject waits and is tried slowly",
    FailureClass.POISON: NEVER,
    FailureClass.UNKNOWN: "a refusal that says nothing about its cause: tried again with growing pauses",
}

_OWN = {
    FailureClass.CAPACITY: "make room in its stream (its command is here as soon as NATS answers)",
    FailureClass.CONFIGURATION: "create its stream or grant the right (its command is here as soon as NATS answers)",
}

_BEHIND = (
    "It lies below the watermark, where the relay has passed already: its seq was drawn long before its insert, came"
    " from a cache of the sequence or by hand, or its mark was taken back."
)


@dataclass(frozen=True, slots=True)
class Other:
    """Another event of the same key that is in the way; `last_error` is why it is there itself."""

    seq: int
    state: State
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one event.

    Attributes:
        age_s: Seconds since it was created.
        failure_class: The class of the failure in `last_error`; None if it tells of none.
        retry_in_s: Seconds until its retry is due; negative: it is due.
        subject: Where it is to be published.
        subject_fault: Why nothing may be published there, or with its headers; None: it may.
        working: Some relay works.
        owned: A relay owns the event's own shard.
        ahead: Pending events with a lower seq; a lower bound if `ahead_exact` is False.
        in_the_way: Earlier events of its key that are neither delivered nor dead.
        dead_ahead: Dead letters of its key that nobody has decided about, with a lower seq.
        oldest_error: What the oldest pending event says, if that is another one.
        stored_at: Its sequence in its stream, if it was found there; None if it was not, or was not looked for.
        by_hand: It is marked delivered, and no stream is named that has acknowledged it.
        hindrances: What of the database may keep its mark from being made.
        table: The table of events.
        size: What its message takes, headers and payload, bytes; 0 if none can be made of it.
        allowing: Which relays let the header through for which it was given up.
        overtaken: What stands before it in its stream although it is newer, if that stream had lost it.
        found_within_s: It lies below the watermark, and no relay knows of it before the search for such rows comes by:
            within so many seconds. None: it does not.
    """

    seq: int
    state: State
    key: str | None
    age_s: float
    attempts: int
    last_error: str | None
    failure_class: FailureClass | None
    retry_in_s: float | None
    subject: str | None
    subject_fault: str | None
    working: bool
    owned: bool
    ahead: int
    ahead_exact: bool
    in_the_way: tuple[Other, ...]
    dead_ahead: tuple[int, ...]
    oldest_error: str | None
    broker: Broker
    ordered: bool
    on_dead: Literal["skip", "block"]
    on_misconfigured: Literal["hold", "dead"]
    max_attempts: int
    hold_max_s: float
    stored_at: int | None = None
    by_hand: bool = False
    hindrances: tuple[Hindrance, ...] = ()
    table: str = "outbox_events"
    size: int = 0
    found_within_s: float | None = None
    allowing: Allowing | None = None
    overtaken: Overtaken | None = None


@dataclass(slots=True)
class Explanation:
    """Why it is there, the first reason first, what happens next, and what an operator can do."""

    why: list[str] = field(default_factory=list)
    next: str = ""
    do: list[str] = field(default_factory=list)


def explain(facts: Facts) -> Explanation:
    """Explain why an event is where it is, and what happens next."""
    match facts.state:
        case "delivered":
            return _delivered(facts)
        case "discarded":
            return _discarded(facts)
        case "dead":
            return _dead(facts)
        case "pending" | "retry" if facts.stored_at is not None:
            return _unmarked(facts, facts.stored_at)
        case "pending" | "retry":
            return _waiting(facts)


def _unmarked(facts: Facts, stored_at: int) -> Explanation:
    """Explain an event that is in its stream although its row says that it waits."""
    answer = Explanation([f"Stream {facts.broker.stream} holds it, at sequence {stored_at}: its mark is missing."])
    if facts.found_within_s is not None:
        answer.why.append("Its mark was taken back, or lost: the relay had passed it.")
        answer.next = (
            f"The search for such rows finds it within {age(facts.found_within_s)}, and it is sent again: once more in"
            " the stream if that has forgotten its id."
        )
    elif facts.hindrances:
        answer.why += [f"The mark is most likely refused: {one.seen()}." for one in facts.hindrances]
        answer.next = "It is not sent again, and is marked within a minute of that being mended."
    else:
        answer.next = (
            "It is not sent again: it is marked within moments, or when its row is not locked any more; `relay status`"
            " shows what relays say of marks that cannot be made."
        )
    if not facts.working:
        answer.why.append("No relay holds the lease now.")
        answer.next = "Nothing until a relay runs: it looks for the event in the stream, and marks it."
    answer.do = [*(one.mend(facts.table) for one in facts.hindrances), "relay doctor"]
    return answer


def _discarded(facts: Facts) -> Explanation:
    answer = Explanation(["It was a dead letter, and an operator has discarded it."])
    answer.next = "Nothing: it is settled, and its key does not wait for it."
    against = why_no_replay(facts)
    if against is None:
        answer.do = [f"relay replay --discarded --seq {facts.seq}"]
    else:
        answer.why.append(f"A replay cannot send it now: {against}.")
    return answer


def why_no_replay(facts: Facts) -> str | None:
    """Return why an event that is settled cannot be sent again now; None: nothing is known to be against it."""
    if facts.subject_fault is not None:
        found = remedy(facts.subject_fault)
        return facts.subject_fault if found is None else f"{facts.subject_fault} ({found.meaning})"
    if _is_too_large(facts):
        return (
            f"it takes {facts.size:,} bytes, stream {facts.broker.stream} {facts.broker.max_msg_size:,} (max_msg_size)"
        )
    if facts.state == "discarded" and facts.failure_class is FailureClass.POISON and remedy(facts.last_error) is None:
        return f"{NEVER} ({facts.last_error})"
    return None


def _is_too_large(facts: Facts) -> bool:
    return 0 < facts.broker.max_msg_size < facts.size


def _delivered(facts: Facts) -> Explanation:
    if facts.by_hand:
        said = "It is marked as delivered, and no stream is named that has acknowledged it: it was marked by hand."
        return Explanation([said], "Nothing: it is settled.", [f"relay replay --seq {facts.seq}"])
    answer = Explanation(["It was acknowledged by its stream and marked."], "Nothing: it is settled.")
    if facts.overtaken is not None:
        answer.why.append(facts.overtaken.sentence())
    answer.do = [f"relay verify --seq {facts.seq}"]
    against = why_no_replay(facts)
    if against is None:
        answer.do.append(f"relay replay --seq {facts.seq}")
    else:
        answer.why.append(f"A replay cannot send it now: {against}.")
    return answer


def _dead(facts: Facts) -> Explanation:
    answer = Explanation()
    answer.why.append(f"It was given up {_attempts(facts.attempts)}: {facts.last_error or 'no reason was written'}.")
    fits = _fits_now(facts)
    answer.why += [] if fits else _class_of(facts)
    if refused_for_size(facts.last_error) == "stream":
        _of_size(facts, answer)
    if facts.key is not None and facts.ordered and facts.on_dead == "block":
        answer.why.append('Its key waits behind it (failures.on_dead = "block").')
    answer.why += _broker_now(facts)
    found = remedy(facts.last_error)
    do = " Retry it." if fits else "" if found is None else f" {found.do}"
    if facts.allowing is not None:
        answer.why.append(facts.allowing.now())
        blocks = facts.key is not None and facts.ordered and facts.on_dead == "block"
        do = f" {facts.allowing.choices(blocks=blocks, permitted=facts.broker.allow_rollup)}"
    answer.next = f"Nothing until an operator decides.{do}"
    answer.do += [f"relay dead retry --seq {facts.seq}", f"relay dead discard --seq {facts.seq}"]
    return answer


def _fits_now(facts: Facts) -> bool:
    """Report whether an event that was too large for its stream is so no more."""
    was_too_large = refused_for_size(facts.last_error) == "stream"
    return was_too_large and facts.broker.stream is not None and facts.size > 0 and not _is_too_large(facts)


def _class_of(facts: Facts) -> list[str]:
    failure = facts.failure_class
    return [] if failure is None else [f"Class {failure}: {meaning_of(failure, facts.last_error, MEANING)}."]


def _of_size(facts: Facts, answer: Explanation) -> None:
    """Add what an event that was refused for its size takes, and what its stream takes now."""
    broker = facts.broker
    if not facts.size:
        return
    if broker.stream is None:
        answer.why.append(f"It takes {facts.size:,} bytes; what its stream takes is not known now.")
        return
    takes = f"{broker.max_msg_size:,}" if broker.max_msg_size > 0 else "any size"
    told = f"It takes {facts.size:,} bytes, and stream {broker.stream} takes {takes} (max_msg_size)"
    if _is_too_large(facts):
        answer.why.append(f"{told}.")
        answer.do.append(command_to_raise(broker.stream, facts.size))
    else:
        answer.why.append(f"Its stream took less then. {told}: a retry sends it now.")


def _attempts(count: int) -> str:
    return "at once" if count == 0 else "after 1 attempt" if count == 1 else f"after {count} attempts"


def _waiting(facts: Facts) -> Explanation:
    answer = Explanation()
    if facts.subject_fault is not None:
        found = remedy(facts.subject_fault)
        told = "It can never be sent as it is" if found is None else "It cannot be sent now"
        answer.why.append(f"{told}: {facts.subject_fault}.")
        answer.why += [] if found is None else [f"That is, {found.meaning}."]
        answer.next = "It becomes a dead letter when its turn comes."
    if facts.state == "retry" and facts.last_error is not None and facts.attempts:
        answer.why.append(f"It was refused, attempt {facts.attempts} of {facts.max_attempts}: {facts.last_error}.")
    elif facts.state == "retry":
        answer.why.append(f"It was given back to be sent again{f': {facts.last_error}' if facts.last_error else ''}.")
    elif is_over(facts):
        answer.why.append(f"When it was tried last it was held back: {facts.last_error}. That is not so any more.")
    elif facts.last_error is not None:
        answer.why.append(f"It was held back: {facts.last_error}.")
    if facts.failure_class is not None and facts.attempts + (facts.state == "pending") and not is_over(facts):
        answer.why += _class_of(facts)
    _key(facts, answer)
    answer.why += _broker_now(facts)
    answer.do += _mending(facts)
    if not facts.working:
        answer.why.append("No relay holds the lease now.")
        answer.next = "Nothing until a relay runs."
        answer.do.insert(0, "relay run")
    elif not facts.owned:
        answer.why.append("No relay owns its shard now, though others are owned.")
        answer.next = (
            "Nothing until a relay owns it: those that run take it within seconds after its lease has run out."
        )
        answer.do.insert(0, "relay status")
    if not answer.next:
        answer.next = _next(facts)
    if facts.state == "pending" and facts.found_within_s is not None and facts.last_error is None:
        answer.why.append(_BEHIND)
        if facts.working and facts.owned:
            comes = f"The search for such rows finds it within {age(facts.found_within_s)} (scrub.found)."
            answer.next = f"{comes} {answer.next}"
    elif not answer.why:
        answer.why.append(_in_line(facts))
    return answer


def is_over(facts: Facts) -> bool:
    """Report whether what an event was held back for is gone, as far as NATS says."""
    return (
        facts.state == "pending"
        and facts.last_error is not None
        and facts.failure_class in (FailureClass.OUTAGE, FailureClass.CAPACITY, FailureClass.CONFIGURATION)
        and facts.broker.unreachable is None
        and facts.broker.stream is not None
        and not _broker_now(facts)
    )


def own_trouble(facts: Facts) -> FailureClass | None:
    """Return for what an event waits that was noted before an outage, and that is not over with it; None: for nothing.

    While NATS is out of reach nobody can see whether it is mended.
    """
    own = facts.failure_class in (FailureClass.CAPACITY, FailureClass.CONFIGURATION)
    return facts.failure_class if own and facts.last_error and facts.broker.unreachable is not None else None


def _key(facts: Facts, answer: Explanation) -> None:
    """Add what its key waits for."""
    if facts.key is None or not facts.ordered:
        return
    if facts.dead_ahead and facts.on_dead == "block":
        seqs = ", ".join(map(str, facts.dead_ahead))
        answer.why.append(
            f'Its key waits for an operator to decide about dead letter {seqs} (failures.on_dead = "block").'
        )
        answer.next = answer.next or "Nothing until that is decided."
        first = facts.dead_ahead[0]
        answer.do += [f"relay explain {first}", f"relay dead retry --seq {first}", f"relay dead discard --seq {first}"]
    elif facts.in_the_way:
        first_way = facts.in_the_way[0]
        why = f", which says: {first_way.last_error}" if first_way.last_error else ""
        answer.why.append(f"An earlier event of its key comes first: seq {first_way.seq} ({first_way.state}){why}.")
        if first_way.state == "retry" or first_way.last_error:
            answer.next = answer.next or f"It is sent when seq {first_way.seq} is delivered or given up."
            answer.do.append(f"relay explain {first_way.seq}")


def _broker_now(facts: Facts) -> list[str]:
    """Return what NATS has in the way now."""
    broker = facts.broker
    if broker.unreachable is not None:
        return [f"An outage is on, seen from here: {broker.unreachable}."]
    if broker.unknown is not None:
        return []
    if broker.stream is None:
        if facts.subject_fault is not None:
            return []
        gone = "" if broker.gone is None else f" Stream {broker.gone}, which took it, is gone."
        return [f"No stream takes the subject {facts.subject} now.{gone}"]
    return broker.refuses()


def _mending(facts: Facts) -> list[str]:
    """Return the commands that may take away what NATS has in the way."""
    broker = facts.broker
    if broker.unreachable is not None or broker.unknown is not None or facts.subject_fault is not None:
        return []
    if broker.stream is None:
        return [create_command(broker.gone or "NAME", broker.took or (facts.subject or "SUBJECT",), broker.had)]
    if broker.no_ack:
        return [f"relay stream edit {broker.stream} --ack"]
    return [] if broker.full is None else [f"relay stream edit {broker.stream} {broker.raised}".rstrip()]


def _next(facts: Facts) -> str:
    own = own_trouble(facts)
    if own is not None and facts.state in ("pending", "retry"):
        return (
            f"Two things are in its way. First NATS has to be reached again. Then what it was held back for before has"
            f" to be mended as well, if it is not: {_OWN[own]}. It is tried again within {facts.hold_max_s:g} s of"
            " both (failures.hold_max_s); no attempt is counted."
        )
    if _broker_now(facts):
        if facts.broker.stream is None and facts.broker.unreachable is None and facts.on_misconfigured == "dead":
            return 'It becomes a dead letter when it is tried (failures.on_misconfigured = "dead").'
        within = f"within {facts.hold_max_s:g} s of that being mended (failures.hold_max_s)"
        return f"It is tried again {within}; no attempt is counted."
    if facts.retry_in_s is not None and facts.retry_in_s > 0:
        last = facts.attempts + 1 >= facts.max_attempts and facts.attempts > 0
        end = "; if it is refused again it becomes a dead letter." if last else "."
        return f"It is sent again in {facts.retry_in_s:.0f} s{end}"
    if facts.state == "retry":
        return "It is due, and sent within five seconds."
    if facts.last_error is not None:
        way = "NATS does not say what is in its way" if facts.broker.unknown else "Nothing is in its way any more"
        return f"{way}: it is tried again within {facts.hold_max_s:g} s (failures.hold_max_s)."
    return "It is sent when its turn comes."


def _in_line(facts: Facts) -> str:
    if facts.ahead == 0 and facts.broker.unknown:
        return "It is the oldest pending event, and NATS does not say what is in its way."
    if facts.ahead == 0:
        return "It is the oldest pending event, and nothing is in its way: it is on its way, or about to be."
    count = f"{facts.ahead:,}" if facts.ahead_exact else f"more than {facts.ahead:,}"
    text = f"It is in line, behind {count} pending event{'' if facts.ahead == 1 else 's'}."
    return text if facts.oldest_error is None else f"{text} The oldest of these says: {facts.oldest_error}."
