"""What a failure means and what is done about it; `relay.rules.failure.retry_backoff` says when. Pure: the table.

| class | what happens |
|---|---|
| outage | the broker, or its storage, cannot be reached: wait and probe, or send again; no attempt is counted |
| capacity | a stream or account is full: the same, for that stream only |
| configuration | no stream, no right, a sealed stream: the events of that subject wait and are probed slowly |
| poison | this event can never be stored: dead letter at once |
| unknown | attempts with growing pauses, then a dead letter |

Failures are classified by the server's ``err_code``; its HTTP code and the client's exception classes mix
conditions that need different answers.
"""

from dataclasses import dataclass
from enum import StrEnum

from relay.outcomes import FailureClass


class Scope(StrEnum):
    """What a failure concerns, and so what waits."""

    STREAM = "stream"
    SUBJECT = "subject"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A classified failure."""

    failure_class: FailureClass
    scope: Scope


@dataclass(frozen=True, slots=True)
class Refused:
    """The server answered with an error: nothing was stored.

    Attributes:
        code: ``err_code`` of the answer, 0 if there was none.
        description: The server's words.
    """

    code: int
    description: str


@dataclass(frozen=True, slots=True)
class NoResponders:
    """Nobody listens on the subject: no stream, or a stream without a leader.

    Attributes:
        stream_exists: What a look-up said; None if it could not be made.
    """

    stream_exists: bool | None


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No answer came in time: the event may be stored or not.

    Attributes:
        passed_over: How often the stream has stored what was sent later, and left this event without an answer.
    """

    passed_over: int = 0


@dataclass(frozen=True, slots=True)
class Forbidden:
    """The server does not let this account publish on the subject."""

    description: str


@dataclass(frozen=True, slots=True)
class Unacknowledging:
    """The stream has ``no_ack``: it stores and never says so, so nothing could be marked delivered."""

    stream: str


# A leader of a replicated stream that gives its office up drops a few messages and takes later ones: an outage, which
# costs no event an attempt. What is left without an answer each time is not answered for a reason of its own.
TOLERATED_PASSES = 2

# How the `last_error` of an event begins if NATS ended the connection each time it was sent.
ENDS_CONNECTIONS = "NATS ended the connection each time this event alone was sent"

Failure = Refused | NoResponders | TimedOut | Forbidden | Unacknowledging

_OUTAGE_STREAM = Verdict(FailureClass.OUTAGE, Scope.STREAM)
_OUTAGE_EVENT = Verdict(FailureClass.OUTAGE, Scope.EVENT)
_CAPACITY_STREAM = Verdict(FailureClass.CAPACITY, Scope.STREAM)
_CAPACITY_SUBJECT = Verdict(FailureClass.CAPACITY, Scope.SUBJECT)
_CONFIG_STREAM = Verdict(FailureClass.CONFIGURATION, Scope.STREAM)
_CONFIG_SUBJECT = Verdict(FailureClass.CONFIGURATION, Scope.SUBJECT)
_POISON = Verdict(FailureClass.POISON, Scope.EVENT)
_UNKNOWN = Verdict(FailureClass.UNKNOWN, Scope.EVENT)
# What a header of this event asks for does not hold, or its stream does not permit it: it may tomorrow, so it is tried
# again. The same subject takes events without that header, so they do not wait.
_OF_HEADER = _UNKNOWN

_EXPECTS_ANOTHER_STREAM = 10060

BY_CODE: dict[int, Verdict] = {
    10002: _CAPACITY_STREAM,  # account: storage used up
    10003: _UNKNOWN,  # bad request
    10008: _OUTAGE_STREAM,  # JetStream temporarily unavailable
    10009: _OUTAGE_STREAM,  # cluster: no leader
    10023: _OUTAGE_STREAM,  # insufficient resources: the server's own storage
    10028: _CAPACITY_STREAM,  # memory of the server used up
    10035: _CONFIG_SUBJECT,  # JetStream not enabled for the account
    10039: _CONFIG_SUBJECT,  # JetStream not enabled for the account
    10047: _CAPACITY_STREAM,  # storage of the server used up
    10054: _POISON,  # larger than the stream's max_msg_size
    10059: _CONFIG_SUBJECT,  # stream not found
    _EXPECTS_ANOTHER_STREAM: _OF_HEADER,
    10070: _OF_HEADER,  # expected last message id does not match
    10071: _OF_HEADER,  # expected last sequence does not match
    10076: _CONFIG_SUBJECT,  # JetStream not enabled
    10077: _CAPACITY_STREAM,  # stream full and discard=new
    10097: _POISON,  # header over 64 KiB
    10109: _CONFIG_STREAM,  # stream sealed
    10111: _POISON,  # rollup header, but the stream does not permit it
    10112: _POISON,  # rollup header with a wrong value
    10158: _OUTAGE_STREAM,  # message id in process, clustered
    10163: _OUTAGE_STREAM,  # expected last sequence per subject not known for the moment
    10164: _OF_HEADER,  # expected last sequence does not match
    10165: _POISON,  # invalid TTL header
    10166: _OF_HEADER,  # TTL header, but the stream does not permit it
    10167: _OUTAGE_STREAM,  # ingest overload
    10168: _POISON,  # counter headers
    10169: _POISON,
    10170: _POISON,
    10171: _POISON,
    10172: _POISON,
    10173: _POISON,
    10188: _OF_HEADER,  # schedules, but the stream does not permit them
    10189: _POISON,  # schedule headers
    10190: _POISON,
    10191: _POISON,
    10192: _POISON,
    10210: _OUTAGE_STREAM,  # too many atomic batches in flight
    10211: _OUTAGE_STREAM,  # too many atomic batches in flight, server
}


def classify(failure: Failure) -> Verdict:
    """Return the class of a failure and what it concerns."""
    match failure:
        case Refused(code=10077, description=text) if "per subject" in text:
            return _CAPACITY_SUBJECT
        case Refused(code=code):
            return BY_CODE.get(code, _UNKNOWN)
        case NoResponders(stream_exists=False):
            return _CONFIG_SUBJECT
        case NoResponders() | TimedOut(passed_over=0):
            return _OUTAGE_STREAM
        case TimedOut(passed_over=times):
            return _OUTAGE_EVENT if times <= TOLERATED_PASSES else _UNKNOWN
        case Forbidden():
            return _CONFIG_SUBJECT
        case Unacknowledging():
            return _CONFIG_STREAM


def expects_another_stream(failure: Failure) -> bool:
    """Report whether a stream has refused an event because that is meant for a stream of another name."""
    return isinstance(failure, Refused) and failure.code == _EXPECTS_ANOTHER_STREAM


def after_lookup(failure: Failure, exists: bool | None, mute_stream: str | None) -> Failure | None:
    """Return what a failure was in the light of a look-up; None if nothing is wrong any more.

    Args:
        failure: What it looked like.
        exists: Whether a stream takes the subject; None if nobody answered.
        mute_stream: The subject's stream if that acknowledges nothing, else None.
    """
    if exists is False:
        # Whatever it looked like: if a plain subscriber listens on the subject, it looks like a timeout.
        return NoResponders(False)
    if mute_stream is not None:
        return Unacknowledging(mute_stream)
    match failure:
        case NoResponders():
            # Unknown stays an outage: nothing may die of a question that nobody answered.
            return NoResponders(exists)
        case Unacknowledging():
            return None
        case _:
            return failure


def describe(failure: Failure) -> str:
    """Return one line on what happened, for logs and for `last_error`."""
    match failure:
        case Refused(code=code, description=text):
            return f"refused by the stream: {text} ({code})"
        case NoResponders(stream_exists=False):
            return "no stream takes this subject: create it, or correct the subject"
        case NoResponders(stream_exists=True):
            return "the stream has no leader now"
        case NoResponders():
            return "nobody answers on this subject, and the streams could not be looked up"
        case TimedOut(passed_over=0):
            return "no acknowledgement in time"
        case TimedOut():
            return "the stream acknowledged what was sent later, and not this event"
        case Forbidden(description=text):
            return f"not permitted to publish: {text}"
        case Unacknowledging(stream=stream):
            return f"stream {stream} has no_ack: what it stores is never acknowledged"
