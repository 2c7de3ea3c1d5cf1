"""Whether delivered rows may be deleted: only while their stream is seen to hold what it has acknowledged. No I/O.

The rows are all that a loss can be healed from. So a stream that nobody can look at now keeps its rows, whatever the
last look has found.
"""

from relay.rules.stream_loss import Seen, suspicious
from relay.rules.streams import StreamState


def keeps_rows(seen: Seen, state: StreamState | None, id_at_mark: str | None) -> str | None:
    """Return why the rows of a stream must stay, to be read after its name; None if the old ones may be deleted.

    Args:
        seen: What was last seen of it, with the highest mark that is known.
        state: What it is now; None if there is none of its name.
        id_at_mark: The message id at the sequence of the mark, as for `suspicious`.
    """
    if seen.lost:
        return "has lost events: see `relay verify`, and heal it with `relay verify --redeliver`"
    if state is None:
        return "is gone: what it held can only be sent again from the rows"
    if suspicious(seen, state, id_at_mark):
        return "does not hold what it has acknowledged, and no relay has healed it yet: see `relay verify`"
    return None
