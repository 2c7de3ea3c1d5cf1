"""What makes an event poison: what can never be sent as it is, and what can once a setting is changed. Pure."""

import re
from typing import Literal, NamedTuple

from relay.outcomes import FailureClass

# What is refused for its size, and by whose limit.
Size = Literal["stream", "server", "relay"]

NEVER = "this event can never be sent as it is"

_BY_SIZE: tuple[tuple[re.Pattern[str], Size], ...] = (
    (re.compile(r"refused by the stream: .*\(10054\)", re.DOTALL), "stream"),
    (re.compile(r"headers of [\dN]+ and payload of [\dN]+ bytes: the server takes"), "server"),
    (re.compile(r"[\dN]+ bytes: more than the relay reads"), "relay"),
)
_STEERS = re.compile(r"header (\S+) would steer the server and is not allowed")
_NO_ROLLUP = re.compile(r"refused by the stream: .*\(10111\)", re.DOTALL)
_OUTSIDE = "the subject lies outside the allowed ones"
# What `headers.allow_nats` cannot let through either.
_RESERVED = ("nats-msg-id", "nats-batch-id", "nats-batch-sequence", "nats-batch-commit")
_EFFECTS = {
    "nats-rollup": 'it has the stream delete older messages: "all" those of the stream, "sub" those of the subject',
    "nats-ttl": "it has the stream delete the message after that time",
    "nats-schedule": "it has the server publish the message later, or again and again",
    "nats-incr": "it has the stream add a number to a counter",
    "nats-expected": "it has the stream refuse the message unless it is as the header expects",
}


class Remedy(NamedTuple):
    """How an event that was given up as poison can still be sent.

    Attributes:
        meaning: What is wrong with it, and what decides.
        setting: What decides.
        do: What to change before a retry, in words.
    """

    meaning: str
    setting: str
    do: str


_OF_SIZE: dict[Size, Remedy] = {
    "stream": Remedy(
        "it is larger than its stream takes (max_msg_size), and can be sent once that limit is raised",
        "max_msg_size of the stream",
        "Raise max_msg_size of the stream, then retry it.",
    ),
    "server": Remedy(
        "it is larger than the server takes (max_payload of servers and account), and can be sent once that is raised",
        "max_payload of the servers",
        "Raise max_payload on every server, then retry it.",
    ),
    "relay": Remedy(
        "it is larger than the relay reads, and can be sent once delivery.buffer_bytes is raised",
        "delivery.buffer_bytes",
        "Raise delivery.buffer_bytes of every relay, then retry it.",
    ),
}


def refused_for_size(last_error: str | None) -> Size | None:
    """Return by whose limit an event was too large; None if it was refused for something else.

    Args:
        last_error: As its row has it, or as reasons are counted, with N for numbers.
    """
    if last_error is None:
        return None
    return next((whose for pattern, whose in _BY_SIZE if pattern.match(last_error)), None)


def remedy(last_error: str | None) -> Remedy | None:
    """Return how an event with this reason can still be sent; None: never as it is."""
    whose = refused_for_size(last_error)
    if whose is not None:
        return _OF_SIZE[whose]
    if last_error is None:
        return None
    steers = _STEERS.match(last_error)
    if steers:
        return _of_header(steers[1])
    if _NO_ROLLUP.match(last_error):
        return Remedy(
            f"it sets Nats-Rollup, which its stream does not permit (allow_rollup_hdrs); {_EFFECTS['nats-rollup']}",
            "allow_rollup_hdrs of the stream",
            "If it may, permit it in the stream, then retry it; else discard it.",
        )
    if last_error.startswith(_OUTSIDE):
        return Remedy(
            "its subject is not among those of subject.allow, and can be sent once it is",
            "subject.allow",
            "If it may, add the subject to subject.allow of every relay, then retry it; else discard it.",
        )
    return None


def steering_header(last_error: str | None) -> str | None:
    """Return the header that controls the server, for which an event was given up; None: it was for another reason."""
    found = None if last_error is None else _STEERS.match(last_error)
    return None if found is None or found[1].lower() in _RESERVED else found[1]


def effect_of(header: str) -> str:
    """Return what such a header has the server do."""
    return next(
        (told for begins, told in _EFFECTS.items() if header.lower().startswith(begins)), "the server may act on it"
    )


def _of_header(name: str) -> Remedy | None:
    lower = name.lower()
    if lower in _RESERVED:
        return None
    return Remedy(
        f"headers.allow_nats of the relay does not let its header {name} through; {effect_of(name)}",
        "headers.allow_nats",
        f"If it may, add {name} to headers.allow_nats of every relay, then retry it; else discard it.",
    )


def meaning_of(failure: FailureClass, last_error: str | None, meanings: dict[FailureClass, str]) -> str:
    """Return what the class of a failure means for an event with this reason.

    Args:
        meanings: What each class means in general.
    """
    found = remedy(last_error) if failure is FailureClass.POISON else None
    return meanings[failure] if found is None else found.meaning
