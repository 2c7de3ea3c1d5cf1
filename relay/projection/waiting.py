"""Wait until a read model shows an event: exact for this event, and never longer than asked."""

import re
import time
from enum import StrEnum
from typing import Any, NamedTuple

import psycopg

from relay.errors import ConfigError
from relay.projection.operator import BEHIND, NoProjection, check_tables
from relay.projection.store import query

_TOKEN = re.compile(r"(?:([0-9a-f]{1,64})\.)?([0-9]{1,18})")
_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.05


class Token(NamedTuple):
    """What names an event for ever; an empty `origin` stands for the only one that the projection has read."""

    origin: str
    seq: int


class Answer(StrEnum):
    """How a read model stands to an event."""

    APPLIED = "applied"
    PARKED = "parked"
    SKIPPED = "skipped"
    NOT_FOR_IT = "not for it"
    TIMED_OUT = "timed out"


def read_token(text: str) -> Token:
    """Read ``<origin>.<seq>`` or ``<seq>``.

    Raises:
        ConfigError: It is neither.
    """
    found = _TOKEN.fullmatch(text)
    if found is None:
        raise ConfigError([f"token {text[:80]!r}: must be <origin>.<seq>, such as 1f0c88aa.4711"])
    return Token(found[1] or "", int(found[2]))


def wait_applied(conn: psycopg.Connection[Any], name: str, token: Token, timeout_s: float) -> tuple[Answer, str | None]:
    """Wait until a read model has settled an event; 0 looks once.

    Args:
        conn: In autocommit.
        timeout_s: The longest to wait, in seconds.

    Returns:
        The answer, and why the event is parked if it is. ``SKIPPED``: an operator or the definition has given it up,
        and the model never shows it. ``NOT_FOR_IT``: everything up to it is settled, and it left no
        mark: it is a dead letter, or of a topic that this projection does not handle. The model cannot tell them apart.

    Raises:
        NoProjection: There is no live projection of this name.
        ConfigError: The token has no origin, and the projection has read events of several.
    """
    check_tables(conn)
    deadline = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        partitions, parked, reason, applied, skipped, complete = (
            psycopg.RawCursor(conn).execute(query("look_for"), [name, token.origin, token.seq]).fetchall()[0]
        )
        if not partitions:
            raise NoProjection(f"there is no projection {name} in this database")
        if not token.origin:
            _check_only_origin(conn, name, token.seq)
        if parked:
            return Answer.PARKED, reason or BEHIND
        if skipped:
            return Answer.SKIPPED, None
        if applied:
            return Answer.APPLIED, None
        if complete:
            return Answer.NOT_FOR_IT, None
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return Answer.TIMED_OUT, None
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _check_only_origin(conn: psycopg.Connection[Any], name: str, seq: int) -> None:
    """Refuse a seq alone if it may name several events.

    Raises:
        ConfigError: The projection has read events of several origins.
    """
    origins = [origin for (origin,) in psycopg.RawCursor(conn).execute(query("origins"), [name]).fetchall()]
    if len(origins) > 1:
        raise ConfigError(
            [
                f"token {seq}: {name} has read several histories of the outbox: {', '.join(origins)}",
                f"use the whole token, as `relay show {seq}` and outbox_client.reading.token return it",
            ]
        )
