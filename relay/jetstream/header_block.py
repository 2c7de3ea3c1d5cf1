"""The headers of a message as they come over the wire. Pure: no I/O.

Read here, and not by nats-py, which hands each message to a task by way of a queue: looking into a stream means to read
the headers of thousands.
"""

_VERSION = b"NATS/1.0"


def status_of(block: bytes) -> str:
    """Return the status in the first line, such as 204; empty without one."""
    return block[len(_VERSION) : block.find(b"\r\n")].strip()[:3].decode("ascii", "replace")


def headers_of(block: bytes) -> dict[str, str]:
    """Return the headers; the first of each name counts. Anybody may have written them: what is none is left out."""
    found: dict[str, str] = {}
    for line in reversed(block.decode("utf-8", "replace").split("\r\n")[1:]):
        name, colon, value = line.partition(":")
        if colon:
            found[name] = value.strip(" \t")
    return found
