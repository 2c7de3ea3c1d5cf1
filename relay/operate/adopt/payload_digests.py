"""Digests of a payload: of its bytes, and of what it says as JSON. Pure: no I/O."""

import hashlib
import json
from typing import NamedTuple


class Digests(NamedTuple):
    """By which payloads are compared without being kept.

    Attributes:
        exact: Of the bytes.
        as_json: Of what it says, whatever its blanks and the order of its members; None if it is no JSON.
        without_nulls: The same without members that are null.
    """

    exact: str
    as_json: str | None = None
    without_nulls: str | None = None


def digests(payload: bytes) -> Digests:
    """Return the digests of a payload. Numbers are compared as they are written: 1 and 1.0 differ."""
    exact = hashlib.sha256(payload).hexdigest()
    try:
        said = json.loads(payload.decode(), parse_int=_number, parse_float=_number, parse_constant=_number)
        return Digests(exact, *(_digest(_plain(said, nulls)) for nulls in (True, False)))
    except (ValueError, RecursionError):  # no JSON, or nested too deeply
        return Digests(exact)


def _number(text: str) -> tuple[str]:
    return (text,)


def _digest(plain: object) -> str:
    return hashlib.sha256(repr(plain).encode()).hexdigest()


def _plain(said: object, nulls: bool) -> object:
    """Return a value of JSON as one whose text is the same for the same value; a number is a tuple already."""
    if isinstance(said, dict):
        return sorted((name, _plain(one, nulls)) for name, one in said.items() if nulls or one is not None), "object"
    if isinstance(said, list):
        return [_plain(one, nulls) for one in said]
    return said
