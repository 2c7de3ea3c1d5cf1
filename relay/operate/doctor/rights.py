"""Which rights the relay's role is to have: read from ``sql/roles.sql``, so that there is one list. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

Verb = Literal["SELECT", "INSERT", "UPDATE", "DELETE"]

_VERBS = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE)\b(?:\s*\(([^)]*)\))?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One right; no columns: all of them."""

    verb: Verb
    table: str
    columns: tuple[str, ...] = ()


def wanted(roles: str, role: str) -> Iterator[Wanted]:
    """Return each right on a table that a text of SQL grants to a role, in its order."""
    grants = re.compile(rf"\bGRANT\s+([^;]+?)\s+ON\s+([^;]+?)\s+TO\s+{re.escape(role)}\s*;")
    for verbs, tables in grants.findall(roles):
        if tables.split()[0] in ("SEQUENCE", "SCHEMA", "FUNCTION"):
            continue
        for table in tables.split(","):
            for verb, columns in _VERBS.findall(verbs):
                names = tuple(name.strip() for name in columns.split(",") if name.strip())
                yield Wanted(cast(Verb, verb), table.strip().removeprefix("TABLE "), names)
