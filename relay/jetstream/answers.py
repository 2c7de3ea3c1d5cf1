"""What the answer to a publish says. Pure: no I/O.

Whoever may subscribe to the subject of an event may answer it, and whoever may publish to our inbox may write there. So
an answer that JetStream would not write proves nothing: it is passed over, as if nobody had answered.
"""

import json
import re
from typing import Any, NamedTuple, TypeGuard

from relay.rules.failure.failures import Refused
from relay.rules.stream.streams import may_exist, qualified

# JetStream counts up to here. The outbox holds less: what to do with such an event is decided where it is marked.
_LARGEST_SEQ = 2**64 - 1
# The server's own numbers of errors; their HTTP codes stand beside them.
_CODES = range(10_000, 20_000)
_LONGEST_DESCRIPTION = 500
# What PostgreSQL stores in no text, or a terminal obeys.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# A token is the seq of an event, which may lie below 0 if it was inserted by hand, or the number of a batch.
_TOKEN = re.compile(r"(b?)(-?[0-9]{1,19})", re.ASCII)


class Acknowledged(NamedTuple):
    """A stream has stored what was sent.

    Attributes:
        stream: Which, with its domain (`relay.rules.stream.streams.qualified`).
        seq: Where, or where the last event of an atomic batch is.
        duplicate: Whether the stream had it already.
        events: How many events of an atomic batch it stored; None of a single event.
    """

    stream: str
    seq: int
    duplicate: bool
    events: int | None


class Token(NamedTuple):
    """What an answer is about.

    Attributes:
        is_batch: Whether it is an atomic batch.
        number: The number of the batch, or the token of the event.
    """

    is_batch: bool
    number: int


def token_of(tail: str) -> Token | None:
    """Return what an answer is about, by what its subject has after our inbox; None if that is nothing we sent."""
    found = _TOKEN.fullmatch(tail)
    return None if found is None else Token(bool(found[1]), int(found[2]))


def read(body: bytes) -> Acknowledged | Refused | None:
    """Return what an answer says; None if it proves nothing."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    if "error" in answer:
        return _refusal(answer["error"])
    stream, domain, seq = answer.get("stream"), answer.get("domain", ""), answer.get("seq")
    if not isinstance(stream, str) or not isinstance(domain, str) or not _is_count(seq):
        return None
    name, events = qualified(domain, stream), answer.get("count")
    if "/" in stream or "/" in domain or not may_exist(name) or not (events is None or _is_count(events)):
        return None
    return Acknowledged(name, seq, bool(answer.get("duplicate")), events)


def _is_count(value: object) -> TypeGuard[int]:
    # True is an int.
    return type(value) is int and 0 < value <= _LARGEST_SEQ


def _refusal(error: Any) -> Refused | None:
    if not isinstance(error, dict):
        return None
    code, description = error.get("err_code"), error.get("description", "")
    if type(code) is not int or code not in _CODES or not isinstance(description, str):
        return None
    return Refused(code, _UNPRINTABLE.sub("\ufffd", description[:_LONGEST_DESCRIPTION]))
