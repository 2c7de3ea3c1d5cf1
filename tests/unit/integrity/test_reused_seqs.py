"""Which messages of a stream are compared with the rows of their seqs."""

import pytest

from relay.integrity.reused_seqs import numbered
from relay.jetstream.stream_reader import StoredId
from relay.rules.database.origins import Origins

ID = "00000000-0000-4000-8000-000000000007"
OTHER_ID = "00000000-0000-4000-8000-000000000008"


@pytest.mark.parametrize(
    ("message", "compared"),
    [
        (StoredId(1, ID, 7, "aaaa"), True),
        (StoredId(1, ID, 7, "bbbb"), False),
        (StoredId(1, ID, 7, ""), False),
        (StoredId(1, ID, None, "aaaa"), False),
        (StoredId(1, None, 7, "aaaa"), False),
        (StoredId(1, f"{ID}.replay-3", 7, "aaaa"), False),
        (StoredId(1, f"{ID}.dead-1.5", 7, "aaaa"), False),
        (StoredId(1, ID, 11, "aaaa"), False),
        (StoredId(1, ID, 11, "bbbb"), True),
    ],
)
def test_only_an_event_with_the_origin_that_its_seq_has_now_is_compared(message: StoredId, compared: bool) -> None:
    found = numbered([message], Origins("0:aaaa,10:bbbb"))
    assert found == ([(message.outbox_seq, ID)] if compared else [])


def test_nothing_is_compared_if_the_outbox_has_no_origin() -> None:
    assert numbered([StoredId(1, ID, 7, "")], Origins()) == []


def test_both_events_of_a_seq_are_compared() -> None:
    page = [StoredId(1, ID, 7, "aaaa"), StoredId(2, OTHER_ID, 7, "aaaa")]
    assert numbered(page, Origins("0:aaaa")) == [(7, ID), (7, OTHER_ID)]
