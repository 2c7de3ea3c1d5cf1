"""Take the secrets out of addresses, so that they can be printed. Pure: no I/O."""

import re

HIDDEN = "********"

# Greedy up to the last @: a password may hold an @ or a slash of its own.
_USER_INFO = re.compile(
    r"(?P<scheme>^[a-z][a-z0-9+.-]*://)(?P<user>[^:@/?]*)(?P<rest>:.*)?@", re.IGNORECASE | re.DOTALL
)
# Parameters of libpq whose value is no secret. All others are hidden: a newer libpq may know
# secrets that this list does not.
_SHOWN = re.compile(
    r"host|hostaddr|port|dbname|user|service|passfile|application_name|client_encoding|target_session_attrs|load_balance_hosts"
    r"|connect_timeout|keepalives(_\w+)?|tcp_user_timeout|channel_binding|require_auth|requirepeer|gssencmode|krbsrvname"
    r"|ssl(mode|negotiation|cert|certmode|key|rootcert|crl|crldir|sni)"
)
_IN_QUERY = re.compile(r"(?P<sign>[?&])(?P<name>[^=&]*)(?P<is>=?)(?P<value>[^&]*)")
_PAIR = re.compile(
    r"(?P<before>\s*)(?P<name>\w+)(?P<is>\s*=\s*)(?P<value>'(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?=\s|$)", re.DOTALL
)


def dsn(text: str) -> str:
    """Hide what may be a secret in a PostgreSQL address, a URL or ``name=value`` pairs; all of it if it is neither."""
    if "://" in text:
        shown = _USER_INFO.sub(lambda m: f"{m['scheme']}{m['user']}{':' + HIDDEN if m['rest'] else ''}@", text)
        address, sign, query = shown.partition("?")
        return address + _IN_QUERY.sub(lambda m: f"{m['sign']}{m['name']}{_value(m)}", sign + query)
    pairs, end = [], 0
    while found := _PAIR.match(text, end):
        pairs.append(f"{found['before']}{found['name']}{_value(found)}")
        end = found.end()
    if text[end:].strip():
        return HIDDEN
    return "".join(pairs)


def _value(found: re.Match[str]) -> str:
    """Return the sign and the value of a parameter, without what may be a secret."""
    if not found["value"] or _SHOWN.fullmatch(found["name"]):
        return f"{found['is']}{found['value']}"
    return f"{found['is']}{HIDDEN}"


def server(url: str) -> str:
    """Hide the password in the address of a NATS server; a user without one is a token, and hidden too."""
    if "://" not in url:
        return HIDDEN if "@" in url else url
    return _USER_INFO.sub(
        lambda m: f"{m['scheme']}{m['user']}:{HIDDEN}@" if m["rest"] else f"{m['scheme']}{HIDDEN}@", url
    )
