"""Take the secrets out of addresses, so that they can be printed. Pure: no I/O."""

import re

HIDDEN = "********"

# Greedy up to the last @: a password may hold an @ or a slash of its own.
_USER_INFO = re.compile(
    r"(?P<scheme>^[a-z][a-z0-9+.-]*://)(?P<user>[^:@/?]*)(?P<rest>:.*)?@", re.IGNORECASE | re.DOTALL
)
_IN_QUERY = re.compile(r"(?P<name>[?&](?:ssl)?password=)[^&]*", re.IGNORECASE)
_IN_PAIRS = re.compile(
    r"(?P<name>\b(?:ssl)?password\s*=\s*)(?:'(?:[^'\\]|\\.)*(?:'|$)|(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*)",
    re.IGNORECASE | re.DOTALL,
)
_PAIRS = re.compile(r"\s*\w+\s*=")


def dsn(text: str) -> str:
    """Hide the passwords in a PostgreSQL address, a URL or ``name=value`` pairs; all of it if it is neither."""
    if "://" in text:
        shown = _USER_INFO.sub(lambda m: f"{m['scheme']}{m['user']}{':' + HIDDEN if m['rest'] else ''}@", text)
        return _IN_QUERY.sub(rf"\g<name>{HIDDEN}", shown)
    if _PAIRS.match(text):
        return _IN_PAIRS.sub(rf"\g<name>{HIDDEN}", text)
    return HIDDEN if text else ""


def server(url: str) -> str:
    """Hide the password in the address of a NATS server; a user without one is a token, and hidden too."""
    if "://" not in url:
        return HIDDEN if "@" in url else url
    return _USER_INFO.sub(
        lambda m: f"{m['scheme']}{m['user']}:{HIDDEN}@" if m["rest"] else f"{m['scheme']}{HIDDEN}@", url
    )
