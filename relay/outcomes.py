"""What becomes of an event."""

from dataclasses import dataclass
from enum import StrEnum

from relay.event import Event


class FailureClass(StrEnum):
    """The five classes of a failure, as they are stored; `relay.rules.failure.failures` says what each means."""

    OUTAGE = "outage"
    CAPACITY = "capacity"
    CONFIGURATION = "configuration"
    POISON = "poison"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that is a dead letter.

    Attributes:
        event: Without its payload and its headers if they were too large to be read.
        died_at: Unix seconds.
        reason: Its `last_error`, empty without one.
        payload_bytes: How large the payload in the table is.
        failure_class: As it is stored; None if the row was written before there was a class.
    """

    event: Event
    died_at: float
    reason: str
    payload_bytes: int
    failure_class: str | None


# An acknowledged event, to be marked: event, stream, sequence in the stream, whether the stream had it already, and
# when the acknowledgement came (Unix seconds). A plain tuple: one is made for each event, in a fifth of the time.
Delivered = tuple[Event, str, int, bool, float]


@dataclass(frozen=True, slots=True)
class Postponed:
    """A refused event, to be retried after `delay_s` seconds; `attempts` counts this one."""

    event: Event
    attempts: int
    delay_s: float
    failure_class: FailureClass
    error: str


@dataclass(frozen=True, slots=True)
class Buried:
    """An event that becomes a dead letter.

    Attributes:
        reason: One word for metrics.
        error: The whole story.
        version: That of the row, if the event is an outline. None: the event was read as it is sent.
    """

    event: Event
    attempts: int
    reason: str
    failure_class: FailureClass
    error: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """A held event that says why it waits."""

    event: Event
    failure_class: FailureClass
    error: str
