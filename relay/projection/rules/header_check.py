"""Whether a message carries what a projection needs of the relay. Pure: no I/O."""

from collections.abc import Mapping

_HEADERS = {"Outbox-Key": "KEY", "Outbox-Seq": "SEQ", "Outbox-Created-At": "CREATED_AT"}


def missing_headers(headers: Mapping[str, str]) -> list[str]:
    """Return the headers of the relay that a message does not carry."""
    return [name for name in _HEADERS if name not in headers]


def none_of_them(missing: list[str]) -> bool:
    """Return whether a message carries none of the headers; without a key alone it may be of an event that has none."""
    return len(missing) == len(_HEADERS)


def advice(missing: list[str]) -> str:
    """Return what is missing, and how to have the relay send it."""
    switched_on = " ".join(f"RELAY_HEADERS__{_HEADERS[name]}=true" for name in missing)
    unless = " (unless the event has no key)" if missing == ["Outbox-Key"] else ""
    return f"carries no {', no '.join(missing)}: run the relay with {switched_on}{unless}"
