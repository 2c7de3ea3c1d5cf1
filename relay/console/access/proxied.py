"""Whom an authenticating proxy names. Pure."""

import hmac
import ipaddress
from collections.abc import Collection, Mapping, Sequence

from relay.console.access.visitor import Visitor

_LONGEST_NAME = 200


def is_trusted(peer: str, proxies: Collection[str]) -> bool:
    """Report whether a peer is one of the proxies, given as networks."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in ipaddress.ip_network(proxy) for proxy in proxies)


def named_visitor(
    headers: Mapping[str, Sequence[str]], user_header: str, groups_header: str, operators: Collection[str]
) -> Visitor | None:
    """Return whom a trusted proxy names, None if it names nobody, or a header came more than once.

    A proxy that adds its header and leaves the one of the browser would else let the browser choose its groups.

    Args:
        headers: Lower-case names with every value that was sent.
        operators: Users, and groups as ``group:name``; compared as a whole.
    """
    users = headers.get(user_header.lower(), ())
    if len(users) != 1 or not users[0].strip() or len(users[0]) > _LONGEST_NAME or not users[0].isprintable():
        return None
    given = headers.get(groups_header.lower(), ())
    if len(given) > 1:
        return None
    user = users[0].strip()
    groups = {part.strip() for value in given for part in value.split(",")}
    may = user in operators or any(f"group:{group}" in operators for group in groups if group)
    # A user who is called as a group is written is not that group.
    return Visitor(user, may and not user.startswith("group:"))


def is_secret(given: Sequence[str], expected: str) -> bool:
    """Report whether a header was given once and holds the secret; takes the same time for every wrong one."""
    return len(given) == 1 and hmac.compare_digest(given[0].encode(), expected.encode())
