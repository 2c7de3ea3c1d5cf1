"""Subjects: templates, patterns, and what a row may ask for. Pure: no I/O."""

import re

_MAX_SUBJECT_BYTES = 1024


_TEMPLATE_FIELD = re.compile(r"\{(\w*)\}")


_SUBJECT = re.compile(r"[!-)+-=?-~]+")  # printable ASCII but space, * and >


_NOT_IN_TOKEN = re.compile(r"[^A-Za-z0-9_\-]")


def template_fault(template: str) -> str | None:
    """Return what is wrong with a subject template; None if nothing is."""
    fields = _TEMPLATE_FIELD.findall(template)
    unknown = [field for field in fields if field not in ("topic", "key")]
    if unknown:
        return f"unknown field {{{unknown[0]}}}: only {{topic}} and {{key}} are known"
    if not fields:
        return "must contain {topic} or {key}"
    return subject_fault(_TEMPLATE_FIELD.sub("x", template))


def subject_fault(subject: str) -> str | None:
    """Return why nothing may be published on a subject; None if events may."""
    if not subject:
        return "the subject is empty"
    if len(subject) > _MAX_SUBJECT_BYTES:
        return f"the subject is longer than {_MAX_SUBJECT_BYTES} bytes"
    if not _SUBJECT.fullmatch(subject):
        return "the subject holds a space, a wildcard, a control or a non-ASCII character"
    if subject[0] == "." or subject[-1] == "." or ".." in subject:
        return "the subject holds an empty token"
    if subject[0] == "$" or subject.startswith("_INBOX"):
        return "the subject is reserved for the server"
    return None


def matches(pattern: str, subject: str) -> bool:
    """Report whether a subject matches a NATS pattern with ``*`` and ``>``."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for at, part in enumerate(wanted):
        if part == ">":
            return len(tokens) > at
        if at >= len(tokens) or part not in ("*", tokens[at]):
            return False
    return len(tokens) == len(wanted)


def covers(pattern: str, other: str) -> bool:
    """Report whether every subject that matches the second of two NATS patterns matches the first as well."""
    wanted, tokens = pattern.split("."), other.split(".")
    for at, part in enumerate(wanted):
        if part == ">":
            return len(tokens) > at
        if at >= len(tokens) or tokens[at] == ">" or part not in ("*", tokens[at]):
            return False
    return len(tokens) == len(wanted)


def overlap(one: str, other: str) -> bool:
    """Report whether some subject matches both of two NATS patterns."""
    tokens, others = one.split("."), other.split(".")
    for left, right in zip(tokens, others, strict=False):
        if ">" in (left, right):
            return True
        if "*" not in (left, right) and left != right:
            return False
    return len(tokens) == len(others)


def key_token(key: str | None) -> str:
    """Return a key as one token: ``_`` without a key; what a token may not hold is percent-encoded."""
    if not key:
        return "_"
    return _NOT_IN_TOKEN.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), key)
