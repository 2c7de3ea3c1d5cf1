"""A partition is complete up to a watermark once its position has passed all that the watermark speaks of."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.maintenance.announcer import announcement
from relay.projection.rules.completeness import Completeness, WatermarkSeen, read_watermark
from relay.rules.database.origins import Origins
from relay.rules.settling.watermark import Watermark

STEPS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=40)


@given(STEPS)
def test_nothing_is_called_complete_before_the_position_has_reached_its_bar(steps: list[tuple[int, int]]) -> None:
    found, bar, position, bars = Completeness(), 0, 0, dict[int, int]()
    for seq, (rises, moves) in enumerate(steps, 1):
        bar, position = bar + rises, position + moves
        bars[seq] = bar
        found.take(WatermarkSeen("o", seq, None), bar)
        reached = found.reached(position)
        assert reached is None or bars[reached.seq] <= position
    last = found.reached(bar)
    assert found.reached(bar) is None and not found.waits
    if steps and last is not None:
        assert last.seq == len(steps)


def test_a_position_that_never_catches_up_still_reaches_older_watermarks() -> None:
    found = Completeness()
    for seq in range(1, 100):
        found.take(WatermarkSeen("o", seq, None), 10 * seq)
    reached = found.reached(500)
    assert reached is not None and reached.seq == 1
    assert found.waits


@pytest.mark.parametrize(
    ("text", "seen", "wanted"),
    [
        ("0:aa,9:bb", {"aa", "bb", ""}, None),
        ("0:aa", {"aa", "bb"}, "bb"),
        ("", {"bb"}, "bb"),
        (None, {"bb"}, None),
    ],
)
def test_a_watermark_says_nothing_of_another_outbox(text: str | None, seen: set[str], wanted: str | None) -> None:
    mark = WatermarkSeen("", 1, None)
    if text is not None:
        read = read_watermark(announcement("outbox_events", Origins(text), Watermark(1, None)))
        assert read is not None
        mark = read
    assert mark.foreign(seen) == wanted


@given(st.integers(0, 2**63 - 1), st.none() | st.floats(0, 4e9))
def test_the_relays_message_is_read(seq: int, at: float | None) -> None:
    read = read_watermark(announcement("outbox_events", Origins("0:0a1b2c3d"), Watermark(seq, at)))
    assert read is not None and (read.origin, read.seq) == ("0a1b2c3d" if seq else "", seq)
    assert read.at == at if at is None else read.at == pytest.approx(at, abs=1e-5)


@given(
    st.binary(max_size=40)
    | st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x)).map(
        lambda value: json.dumps({"seq": value, "complete_up_to": value}).encode()
    )
)
def test_what_is_no_watermark_is_none(payload: bytes) -> None:
    read = read_watermark(payload)
    assert read is None or read.seq >= 0
