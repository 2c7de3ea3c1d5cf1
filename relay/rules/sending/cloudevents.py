"""Events as CloudEvents 1.0 in binary mode: the payload as it stands, and what describes it in headers. Pure: no I/O.

By the NATS protocol binding of CloudEvents each attribute is a header with ``ce-`` before its name, and a value is
percent-encoded if it holds anything but printable ASCII, or a space, a double quote or a percent sign.
"""

from collections.abc import Mapping
from urllib.parse import quote

from relay.event import Event

_PREFIX = "ce-"
_STANDS = "".join(character for character in map(chr, range(0x21, 0x7F)) if character not in '"%')


class CloudEvents:
    """Describes each event.

    Args:
        source: Which outbox this is, a URI reference such as ``/shop/orders``. With the id it is unique.
        type_prefix: What goes before the topic to make the type, such as ``com.example.``.
        content_type: Of all payloads, a media type.
    """

    def __init__(self, source: str, *, type_prefix: str = "", content_type: str = "application/json") -> None:
        self._type_prefix = type_prefix
        self._fixed = {
            "ce-specversion": "1.0",
            "ce-source": _encoded(source),
            "ce-datacontenttype": _encoded(content_type),
        }

    def headers(self, event: Event, own: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of an event: those of the row unchanged, and each attribute that they lack.

        Raises:
            ValueError: The event has neither a topic nor a type of its own; nothing can be sent.
        """
        event_type = self._type_prefix + event.topic
        attributes = {
            "ce-id": event.id,
            "ce-type": _encoded(event_type),
            **self._fixed,
        }
        if (created_at := event.created_at_text()) is not None:
            attributes["ce-time"] = created_at
        if event.key:
            attributes["ce-subject"] = _encoded(event.key)
        given = {name.lower() for name in own if name.lower().startswith(_PREFIX)}
        if not event_type and "ce-type" not in given:
            raise ValueError("a CloudEvent needs a type, and the topic is empty")
        return {**own, **{name: value for name, value in attributes.items() if name not in given}}


def _encoded(value: str) -> str:
    return quote(value, safe=_STANDS)
