"""Values of metrics, as a test asks for them."""

from collections.abc import Iterable, Mapping

from relay.observe.exposition import Family


def sample(families: Iterable[Family], name: str, labels: Mapping[str, str]) -> float | None:
    """Return the value with a name and exactly these labels, None if there is none."""
    found = [one.value for family in families for one in family.samples if (one.name, one.labels) == (name, labels)]
    return found[0] if found else None
