"""The wire form of messages: the HPUB command of the NATS client protocol. Pure: no I/O.

Written here because it was the largest share of what an event costs (decision 0006): the client library checks
each header again, which `relay.rules.sending.envelopes` has done already, by stricter rules.
"""

from collections.abc import Iterable

Message = tuple[int, str, bytes, str]
"""Token, subject, payload, and the lines of the headers, each with its line end.

All of them must have passed `relay.rules.sending.envelopes`: a line end in a wrong place would begin a command of its
own.
"""

# Each command begins with the line end of the one before, so that a message is two pieces and not three.
_END = b"\r\n"


def singles(messages: Iterable[Message], inbox: str) -> bytes:
    """Write messages one after the other, as they go over the wire.

    Args:
        messages: What is sent.
        inbox: What the reply subject of each begins with; its token follows.
    """
    parts: list[bytes] = []
    for token, subject, payload, lines in messages:
        headers = f"NATS/1.0\r\n{lines}\r\n"
        # isascii is a look at a flag; hardly any header needs more than a byte a character.
        size = len(headers) if headers.isascii() else len(headers.encode())
        head = f"\r\nHPUB {subject} {inbox}{token} {size} {size + len(payload)}\r\n{headers}"
        parts += head.encode(), payload
    return _joined(parts)


def batch(messages: Iterable[Message], own: str, first: int) -> bytes:
    """Write messages of an atomic batch, without the one that commits it.

    Args:
        messages: Consecutive ones; nothing answers them.
        own: The line of a header that says which batch, and the name of the one for the position in it.
        first: The position of the first.
    """
    parts: list[bytes] = []
    for position, (_, subject, payload, lines) in enumerate(messages, first):
        headers = f"NATS/1.0\r\n{lines}{own}{position}\r\n\r\n"
        size = len(headers) if headers.isascii() else len(headers.encode())
        parts += f"\r\nHPUB {subject} {size} {size + len(payload)}\r\n{headers}".encode(), payload
    return _joined(parts)


def questions(subject: str, bodies: Iterable[bytes], inbox: str) -> bytes:
    """Write messages without headers on one subject; each is answered under the inbox and its number, from 0 on."""
    return b"".join(
        [
            b"PUB %b %b%d %d\r\n%b\r\n" % (subject.encode(), inbox.encode(), number, len(body), body)
            for number, body in enumerate(bodies)
        ]
    )


def _joined(parts: list[bytes]) -> bytes:
    if not parts:
        return b""
    parts[0] = parts[0].removeprefix(_END)
    parts.append(_END)
    return b"".join(parts)
