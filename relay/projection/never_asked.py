"""What of a definition would never be asked for an event, though its author means it: nobody would see that."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from relay.rules.stream.subjects import covers, matches

if TYPE_CHECKING:
    from relay.projection.definition import Handler


def faults_of_upcasters(upcasters: Iterable[tuple[str, int]], handlers: Sequence["Handler"]) -> list[str]:
    """Return what is wrong with what brings payloads up to date: it would never be asked, and nobody would see that."""
    faults = []
    for topic, version in upcasters:
        if "*" in topic or ">" in topic:
            faults.append(f"upcast: {topic}: must be a plain subject, without wildcards")
        elif not any(matches(one.topic, topic) for one in handlers):
            faults.append(f"upcast: {topic}: nothing is defined for its events")
        elif version < 1:
            faults.append(f"upcast: {topic}, version {version}: versions begin at 1")
    return faults


def never_asked(handlers: Sequence["Handler"]) -> list[str]:
    """Return what is never asked for an event, since an earlier one takes all of its own; with why, and the way out."""
    different = list(dict.fromkeys(handlers))
    found = []
    for at, one in enumerate(different):
        before = next(
            (it for it in different[:at] if it.version in (None, one.version) and covers(it.topic, one.topic)), None
        )
        if before is None:
            continue
        named = one.topic if one.version is None else f"{one.topic}, version {one.version}"
        if before.topic != one.topic:
            found.append(f"{named}: {before.topic}, which comes earlier, takes its events: put it behind this one")
        elif before.version is None and one.version is not None:
            taken = {it.version for it in different if it.topic == one.topic}
            free = next(number for number in range(1, len(taken) + 1) if number not in taken)
            found.append(
                f"{named}: an earlier one takes its events, for without a version it takes every version: give it "
                f"version = {free}"
            )
        else:
            found.append(f"{named}: an earlier one takes its events: give each another version, or leave one out")
    return found
