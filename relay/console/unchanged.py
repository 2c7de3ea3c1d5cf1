"""Answer what a browser has already with 304: the tag of an answer, and whether the browser knows it. Pure."""

import hashlib

_TAG_BYTES = 12


def entity_tag(body: bytes) -> str:
    """Return the entity tag (RFC 9110, 8.8.3) of an answer: the same for the same bytes."""
    return f'"{hashlib.blake2b(body, digest_size=_TAG_BYTES).hexdigest()}"'


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Report whether the tags that a browser names (``If-None-Match``) hold this one.

    They are compared as RFC 9110, 13.1.2 says: weakly, since a proxy that compresses makes a tag weak.
    """
    if if_none_match is None:
        return False
    named = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in named or named == ["*"]
