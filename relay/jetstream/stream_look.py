"""What a stream says of itself, as a reader with a position of its own needs it."""

import base64
import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

from relay.jetstream.connection import Connection
from relay.jetstream.errors import NO_SUCH_STREAM, BrokerError, RequestRefused

_TIMEOUT_S = 5.0
_NO_MESSAGE = 10037
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
# What a stream may be fed by, beside its subjects.
_BESIDE = ("mirror", "sources", "subject_transform")
_NEVER = "0001-01-01T00:00:00Z"


class NoSuchStream(RequestRefused):
    """There is no stream of this name, or this account does not see it."""


class StreamLook(NamedTuple):
    """A stream at one moment.

    Attributes:
        created: When it was made, in the server's words.
        first_seq: Nothing is stored below it; last_seq + 1 if it is empty.
        last_seq: The last sequence that it gave.
        last_time_ns: When it stored the message there, Unix nanoseconds; None before the first one.
        by_limits: Whether its retention is ``limits``.
        first_time_ns: When it stored its first message, Unix nanoseconds; None without one.
        max_age_s: It drops messages that are older; 0: none for its age.
        drops_by_size: Whether it drops its first messages for their number or bytes, and has begun to.
        thins: Whether it drops messages from its middle to keep only the newest ones of each subject.
        expires: Whether single messages may say when they are dropped.
        subjects: What it takes; None if messages come to it in another way as well, as from another stream.
    """

    created: str
    first_seq: int
    last_seq: int
    last_time_ns: int | None
    by_limits: bool
    first_time_ns: int | None
    max_age_s: float
    drops_by_size: bool
    thins: bool = False
    expires: bool = False
    subjects: tuple[str, ...] | None = None


class LastMessage(NamedTuple):
    """The newest message on a subject."""

    stream_seq: int
    subject: str
    payload: bytes
    header_block: bytes


async def look_at(connection: Connection, stream: str) -> StreamLook:
    """Ask the leader of a stream.

    Raises:
        NoSuchStream: There is none.
        BrokerError: No answer, or not permitted.
    """
    question = f"STREAM.INFO.{stream}"
    answer = await connection.request(question, None, _TIMEOUT_S)
    error = answer.get("error")
    if error is not None:
        kind = NoSuchStream if error.get("err_code") == NO_SUCH_STREAM else RequestRefused
        raise kind(f"{question}: {error.get('description')}")
    state, config = answer["state"], answer["config"]
    first_time, last_time = state.get("first_ts", _NEVER), state.get("last_ts", _NEVER)
    has_size = config.get("max_msgs", -1) > 0 or config.get("max_bytes", -1) > 0
    return StreamLook(
        created=answer["created"],
        first_seq=max(1, state["first_seq"]),
        last_seq=state["last_seq"],
        last_time_ns=None if last_time == _NEVER else unix_ns(last_time),
        by_limits=config.get("retention", "limits") == "limits",
        first_time_ns=None if first_time == _NEVER else unix_ns(first_time),
        max_age_s=config.get("max_age", 0) / 1e9,
        thins=config.get("max_msgs_per_subject", -1) > 0 and config.get("discard", "old") == "old",
        expires=bool(config.get("allow_msg_ttl")),
        subjects=None if any(config.get(one) for one in _BESIDE) else tuple(config.get("subjects") or ()),
        drops_by_size=has_size and config.get("discard", "old") == "old" and state["first_seq"] > 1,
    )


async def time_at(connection: Connection, stream: str, seq: int) -> int | None:
    """Ask the leader when it stored the message at a sequence, Unix nanoseconds; None if it has none there.

    Raises:
        BrokerError: No answer, or not permitted.
    """
    found = await _message(connection, stream, {"seq": seq})
    return None if found is None else unix_ns(found["time"])


async def headers_at(connection: Connection, stream: str, seq: int) -> bytes | None:
    """Ask the leader for the headers of the message at a sequence, as they are; None if it has none there.

    Raises:
        BrokerError: No answer, or not permitted.
    """
    found = await _message(connection, stream, {"seq": seq})
    return None if found is None else base64.b64decode(found.get("hdrs", ""))


async def last_on(connection: Connection, stream: str, subject: str) -> LastMessage | None:
    """Ask the leader for the newest message on a subject, or on those that match a pattern; None if there is none.

    Raises:
        BrokerError: No answer, or not permitted.
    """
    found = await _message(connection, stream, {"last_by_subj": subject})
    if found is None:
        return None
    payload, header_block = (base64.b64decode(found.get(part, "")) for part in ("data", "hdrs"))
    return LastMessage(found["seq"], found["subject"], payload, header_block)


async def _message(connection: Connection, stream: str, which: dict[str, object]) -> dict[str, Any] | None:
    """Ask the leader for one message; None if it has no such message."""
    question = f"STREAM.MSG.GET.{stream}"
    answer = await connection.request(question, which, _TIMEOUT_S)
    error = answer.get("error")
    if error is None:
        message: dict[str, Any] = answer["message"]
        return message
    if error.get("err_code") == _NO_MESSAGE:
        return None
    raise RequestRefused(f"{question}: {error.get('description')}")


def unix_ns(moment: str) -> int:
    """Read a time of the server, RFC 3339 with up to nine digits of a second, without rounding it.

    Raises:
        BrokerError: It is no such time.
    """
    found = _MOMENT.fullmatch(moment)
    if found is None:
        raise BrokerError(f"the server's time {moment[:40]!r} cannot be read")
    seconds = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00")).astimezone(UTC)
    return int(seconds.timestamp()) * 1_000_000_000 + int((found[2] or "0").ljust(9, "0"))
