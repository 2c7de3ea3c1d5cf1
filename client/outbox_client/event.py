"""An event, as an application makes it."""

from __future__ import annotations

TYPE_CHECKING = False  # see outbox_client.rows
if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping
    from typing import Any


class Event:
    """What happened, to be published once. Treat it as immutable.

    Args:
        topic: What the relay makes the subject of; with its default template this is the subject.
        payload: What `Outbox` can encode: by default anything that `json.dumps` takes, or an object with
            ``model_dump_json()`` (pydantic) or ``__json__()``.
        key: Events of one key keep their order, across all topics; None asks for no order.
        headers: Headers of the message: texts, numbers or booleans; one that is None is left out.
        id: The message id, by which consumers recognise a repeat. None makes a new one.
    """

    __slots__ = ("headers", "id", "key", "payload", "topic")

    def __init__(
        self,
        topic: str,
        payload: Any,
        *,
        key: str | None = None,
        headers: Mapping[str, str | float | bool | None] | None = None,
        id: uuid.UUID | None = None,  # noqa: A002 - callers write Event(id=...), as the column says
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.key = key
        self.headers = headers
        self.id: uuid.UUID = new_id() if id is None else id

    def __repr__(self) -> str:
        """Name the event, without its payload and headers: they may be secret."""
        return f"Event({self.topic!r}, key={self.key!r}, id={str(self.id)!r})"


def new_id() -> uuid.UUID:
    """Make a message id.

    Python 3.14 has version 7, whose values rise with time: the index on the id grows at one end.
    """
    # Imported with the first event: it takes a third of the time of importing this package.
    import uuid

    made: uuid.UUID = getattr(uuid, "uuid7", uuid.uuid4)()
    return made
