"""Which requests are answered at all, by their headers. Pure."""

from collections.abc import Collection
from urllib.parse import urlsplit


def host_name(header: str) -> str | None:
    """Return the name in a ``Host`` header, in lower case and without the port; None if it is none."""
    try:
        parts = urlsplit(f"//{header}")
        name, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return name if name and parts.netloc == header and "@" not in header else None


def is_known_host(header: str | None, hosts: Collection[str]) -> bool:
    """Report whether a request is for one of our names; any other one is what a rebound DNS name sends."""
    return header is not None and host_name(header) in hosts


def is_same_origin(fetch_site: str | None, origin: str | None, host: str | None) -> bool:
    """Report whether a request that changes something comes from a page of ours.

    Args:
        fetch_site: ``Sec-Fetch-Site``, which every browser sends and no page can forge.
        origin: ``Origin``; decides only without `fetch_site`.
        host: ``Host``.
    """
    if fetch_site is not None:
        return fetch_site == "same-origin"
    if origin is None or not host:
        return False
    return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
