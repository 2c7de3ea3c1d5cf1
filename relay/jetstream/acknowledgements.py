"""The usual acknowledgements of single events, read in runs as they come over the wire. Pure: no I/O.

nats-py's parser takes one message at a time, by a handful of regular expressions and a coroutine; that was a third of
what an event costs in the relay (decision 0006). A drain brings hundreds of acknowledgements in one piece, so they are
taken together here. Everything else is left to that parser, byte for byte.
"""

import re
from typing import NamedTuple

from relay.rules.stream.streams import may_exist, qualified

Stored = tuple[int, str, int, bool]
"""Token, stream, sequence in the stream, and whether the stream had the event already.

A plain tuple: one is made for each event, in a fifth of a named tuple's time.
"""

# What the server writes before the sequence; every other answer is read as JSON, in three times the time.
_BEFORE_SEQ = re.compile(rb'\{"stream":"([ !#-\[\]-~]+)",(?: ?"domain":"([ !#-\[\]-~]+)",)? ?"seq"')
# Whatever has no more digits is a bigint.
_MOST_DIGITS = 18
# A few streams take what a connection sends. Whoever answers on our inbox with ever new names fills no memory.
_MOST_NAMES = 1_000

_LINE_END = b"\r\n"
# An acknowledgement is shorter: two names of 255 bytes at most, and some 60.
_SHORT_BYTES = 1_000


class Run(NamedTuple):
    """What a piece of the wire began with.

    Attributes:
        stored: The acknowledgements, in their order.
        rest: What follows them.
        is_incomplete: Whether the rest is a short message to our inbox whose end has not come yet.
    """

    stored: list[Stored]
    rest: bytes
    is_incomplete: bool


class Acknowledgements:
    """Reads what comes on one inbox.

    Args:
        inbox: What the subject of each answer begins with; the token of the event follows.
        subscription: The number of the subscription to it.
    """

    def __init__(self, inbox: str, subscription: int) -> None:
        self._begin = f"MSG {inbox}".encode()
        self._between = b" %d " % subscription
        self._names: dict[bytes, str] = {}

    def read(self, wire: bytes) -> Run:
        """Take the acknowledgements at the beginning of what was read.

        Args:
            wire: Begins with a message, or with the first part of one.
        """
        lines = wire.split(_LINE_END)
        # What has no line end yet: a line or a body may go on.
        tail = lines.pop()
        begin, skip, between, names = self._begin, len(self._begin), self._between, self._names
        stored: list[Stored] = []
        for head, body in zip(lines[0::2], lines[1::2], strict=False):
            token, _, size = head[skip:].partition(between)
            if not head.startswith(begin) or not token.isdigit() or size != b"%d" % len(body):
                break
            before, _, end = body.rpartition(b":")
            stream = names.get(before) or self._stream(before)
            seq = end[:-1]
            if stream is None or not end.endswith(b"}") or not seq.isdigit() or seq < b"1":
                break
            if len(seq) > _MOST_DIGITS or len(token) > _MOST_DIGITS:
                break
            stored.append((int(token), stream, int(seq), False))
        lines = lines[2 * len(stored) :]
        is_incomplete = len(lines) == 1 and lines[0].startswith(begin) and len(lines[0]) + len(tail) < _SHORT_BYTES
        return Run(stored, _LINE_END.join((*lines, tail)), is_incomplete)

    def _stream(self, before_seq: bytes) -> str | None:
        """Return the stream that an acknowledgement names before its sequence; None if it is no usual one."""
        found = _BEFORE_SEQ.fullmatch(before_seq)
        if found is None:
            return None
        if len(self._names) >= _MOST_NAMES:
            self._names.clear()
        domain = "" if found[2] is None else found[2].decode()
        name = qualified(domain, found[1].decode())
        if not may_exist(name):
            return None
        self._names[before_seq] = name
        return name
