"""Rows are deleted only if their stream is seen to hold what it has acknowledged."""

from dataclasses import replace

import pytest

from relay.rules.still_stored import keeps_rows
from relay.rules.stream_floors import Mark
from relay.rules.stream_loss import Seen
from relay.rules.streams import StreamFacts, StreamState

STATE = StreamState(StreamFacts("S", ("s.>",)), "then", 1_000.0, first_seq=100, last_seq=200)
SEEN = Seen("S", created="then", mark=Mark(150, "mine"))


@pytest.mark.parametrize(
    ("seen", "state", "id_at_mark", "says"),
    [
        (SEEN, STATE, "mine", None),
        (Seen("S"), STATE, None, None),
        (SEEN, replace(STATE, first_seq=180), None, None),
        (SEEN, STATE, "another", "does not hold"),
        (SEEN, replace(STATE, first_seq=0, last_seq=0), None, "does not hold"),
        (SEEN, replace(STATE, created="now"), None, "does not hold"),
        (SEEN, None, None, "is gone"),
        (Seen("S"), None, None, "is gone"),
        (replace(SEEN, lost=True), STATE, "mine", "has lost"),
    ],
)
def test_the_rows_of_a_stream_stay_unless_it_holds_its_newest_event_or_has_dropped_it(
    seen: Seen, state: StreamState | None, id_at_mark: str | None, says: str | None
) -> None:
    reason = keeps_rows(seen, state, id_at_mark)
    assert reason is None if says is None else says in str(reason)
