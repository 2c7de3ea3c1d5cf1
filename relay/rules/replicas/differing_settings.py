"""Which settings the relays of one outbox should share, and which of them differ. Pure: no I/O.

Each relay's name ends with a digest of each group of such settings, twelve bits long. So anybody who reads the names
learns which groups differ, and no value; one difference in 4,096 is not seen.
"""

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2s

GROUPS = {
    "subjects": "subject.template or subject.allow",
    "headers": "[headers] or [cloudevents]",
    "failures": "delivery.ordering, or of [failures] on_dead, max_attempts, on_misconfigured or dead_subject",
    "nats": "nats.servers, nats.user or [stream]",
    "keeping": "[retention], healing.on_loss, watermark.subject or lease.ttl_s",
}
"""The settings of each group, in the order of their digests. If that changes, so must the letter of `_DIGESTS`."""

_DIGITS = 3
_LETTER = "s"
_DIGESTS = re.compile(rf"{_LETTER}[0-9a-f]{{{_DIGITS * len(GROUPS)}}}")


def digests(values: Mapping[str, object]) -> str:
    """Return what a relay's name says of its settings.

    Args:
        values: What each group holds, as JSON takes it.
    """
    return _LETTER + "".join(
        blake2s(json.dumps(values[group], sort_keys=True).encode()).hexdigest()[:_DIGITS] for group in GROUPS
    )


def differing(names: Iterable[str]) -> list[str]:
    """Return the settings in which some relays differ, by their names; those of other releases are not compared."""
    found = {last for name in names if _DIGESTS.fullmatch(last := name.rpartition(":")[2])}
    parts = [{one[at : at + _DIGITS] for one in found} for at in range(1, 1 + _DIGITS * len(GROUPS), _DIGITS)]
    return [settings for settings, kinds in zip(GROUPS.values(), parts, strict=True) if len(kinds) > 1]
