"""Put the shared parts of statements in. Pure, but for reading the parts.

A line ``-- include: ours($1, $2)`` in a statement stands for the lines of ``sql/includes/ours.sql``. What is in
brackets takes the place of ``:shards`` and ``:shard_count`` there, the parameters that the first line of that file
names. A part includes no other part.
"""

import re
from pathlib import Path

_INCLUDE = re.compile(r"^ *-- include: (\w+)(?:\((.+)\))?\n", re.MULTILINE)
_HEADING = re.compile(r"-- (\w+)(?:\((.+)\))?: ")
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


def expand(text: str, parts: Path) -> str:
    """Return a statement with its shared parts put in.

    Args:
        text: The statement as its file has it.
        parts: The directory of the shared parts.

    Raises:
        ValueError: A part has another name or other parameters than the line that includes it.
        OSError: There is no such part.
    """
    return _INCLUDE.sub(lambda line: _part(parts, line[1], line[2]), text)


def _part(parts: Path, name: str, arguments: str | None) -> str:
    part = (parts / f"{name}.sql").read_text("utf-8")
    heading = _HEADING.match(part)
    if heading is None or heading[1] != name or (heading[2] is None) != (arguments is None):
        raise ValueError(f"include {name}: its file begins otherwise")
    body = _COMMENT.sub("", part)
    if arguments is None:
        return body
    names = heading[2].split(", ")
    # The last argument may hold commas of its own.
    values = dict(zip(names, arguments.split(", ", len(names) - 1), strict=True))
    # A parameter is ":name"; "::name" is a cast.
    return re.sub(r"(?<!:):(\w+)", lambda found: values[found[1]], body)
