"""The wire form of messages: the HPUB command of the NATS client protocol. Pure: no I/O.

Written here because it was the largest share of what an event costs (decision 0006): the client library checks
each header again, which `relay.rules.sending.envelopes` has done already, by stricter rules.
"""

from collections.abc import Iterable

Frame = tuple[str, str, bytes, str]
"""Reply subject, subject, payload, and the lines of the headers, each with its line end.

All of them must have passed `relay.rules.sending.envelopes`: a line end in a wrong place would begin a command of its
own.
"""

_STATUS_BYTES = len("NATS/1.0\r\n\r\n")


def encode(frames: Iterable[Frame]) -> bytes:
    """Write messages one after the other, as they go over the wire."""
    parts: list[bytes] = []
    for reply, subject, payload, lines in frames:
        # isascii is a look at a flag; hardly any header needs more than a byte a character.
        size = _STATUS_BYTES + (len(lines) if lines.isascii() else len(lines.encode()))
        head = f"HPUB {subject} {reply} {size} {size + len(payload)}\r\nNATS/1.0\r\n{lines}\r\n"
        parts += (head.encode(), payload, b"\r\n")
    return b"".join(parts)
