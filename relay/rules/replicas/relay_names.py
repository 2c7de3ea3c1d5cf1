"""What the name of a relay says about where it runs. Pure: no I/O.

A name is of one process and never comes again: ``host:pid:token:place``. The place stands for one network namespace of
one boot of one kernel; it is missing if the process could not prove there that it lives. What follows says which
settings the relay works with (`relay.rules.replicas.differing_settings`).
"""

import re
from collections.abc import Iterable
from typing import NamedTuple, Self

_NAME = re.compile(
    r"(?P<host>[^:]+):(?P<pid>[0-9]+):(?P<token>[0-9a-f]{8}):(?P<place>[0-9a-f]{16})(:(?P<settings>[a-z][0-9a-f]*))?"
)


class Member(NamedTuple):
    """The name of a relay, in its parts.

    Attributes:
        token: Chance, so that a later process of the same host and pid has another name.
        place: Where it runs; None if nobody there can tell whether it lives.
        settings: The digests of its settings; None if it says nothing of them.
    """

    host: str
    pid: int
    token: str
    place: str | None
    settings: str | None = None

    def __str__(self) -> str:
        parts = [self.host, str(self.pid), self.token, self.place, self.settings]
        return ":".join(part for part in parts if part is not None)

    @classmethod
    def placed(cls, name: str) -> Self | None:
        """Read a name that has a place; None for any other."""
        found = _NAME.fullmatch(name)
        return (
            None if found is None else cls(found["host"], int(found["pid"]), *found.group("token", "place", "settings"))
        )


def neighbours(me: Member, names: Iterable[str]) -> list[str]:
    """Return the names of other relays whose life or death can be proved from here.

    Both the place and the host must be ours: a kernel that invents the same place for each of its containers still
    names them differently.
    """
    if me.place is None:
        return []
    found = []
    for name in names:
        other = Member.placed(name)
        if other is not None and name != str(me) and (other.host, other.place) == (me.host, me.place):
            found.append(name)
    return found
