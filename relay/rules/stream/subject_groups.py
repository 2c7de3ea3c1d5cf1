"""Subjects that one question asks about together, since they begin alike. Pure: no I/O."""

from collections.abc import Callable, Iterable

# For fewer subjects a question about all of them spares nothing.
_FEWEST = 5


def of_first_token(subject: str) -> str:
    """Return the pattern of all subjects that share the first token of one."""
    return f"{subject.partition('.')[0]}.>"


def of_all_but_last(subject: str) -> str:
    """Return the pattern of all subjects that share with one all tokens but the last."""
    return f"{subject.rpartition('.')[0]}.>"


def groups(subjects: Iterable[str], pattern_of: Callable[[str], str]) -> dict[str, list[str]]:
    """Return the patterns that each stand for enough of some subjects to ask about them together, with these subjects.

    A stream that takes one of them overlaps with the pattern. So if no stream does, none takes any of them.

    Args:
        pattern_of: Makes the pattern. A subject of one token is in no group.
    """
    found: dict[str, list[str]] = {}
    for subject in subjects:
        if "." in subject:
            found.setdefault(pattern_of(subject), []).append(subject)
    return {pattern: alike for pattern, alike in found.items() if len(alike) >= _FEWEST}
