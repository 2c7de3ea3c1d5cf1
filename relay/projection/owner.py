"""The name under which a run of projections owns partitions, and the proof that another run has ended.

A run is of a process, and the process proves by `relay.postgres.presence` that it lives. What a name says of another
place proves nothing: then the lease is waited for (docs/design/decisions/0015-who-is-provably-dead.md).
"""

import secrets
from functools import cache

from relay.postgres.presence import Presence


@cache
def _presence() -> Presence:
    return Presence()


def new_name() -> str:
    """Return a name for a run: of this process, and of no other run."""
    return f"{_presence().member}/{secrets.token_hex(4)}"


def has_ended(name: str) -> bool:
    """Report whether the process of a run has provably ended; False if that cannot be known from here."""
    member, found, _ = name.partition("/")
    return bool(found) and bool(_presence().ended([member]))
