"""Pictures: whole, inside their frame, and nothing of a row becomes markup."""

import math
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.console.last_hour import LAST_S, LastHour
from relay.console.live import Look
from relay.console.overview_pictures import _on_axis, flow_picture, lag_picture
from relay.console.owners import owners
from relay.console.pictures.chart import chart, round_up, round_up_time
from relay.console.pictures.flow import Station, flow, flow_down
from relay.console.pictures.shards import letter, shard_cells
from relay.console.pictures.timeline import timeline
from relay.operate.delivered import SLOT_S, DeliveredSlot, changed_since, slot_of
from relay.operate.events import ListedEvent
from relay.operate.status import Shard, Status
from relay.text import printable
from tests.unit.console.test_stories import PENDING, SHARDS, WELL

TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20)
VALUE = st.floats(0, 1e12)


def parsed(picture: str) -> ET.Element:
    root = ET.fromstring(picture)
    assert root.attrib["role"] == "img" and root.attrib["aria-label"]
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for element in root.iter():
        assert not {name for name in element.attrib if name.startswith("on") or name == "style"}
        for name, limit in (("x", width), ("x1", width), ("x2", width), ("cx", width), ("y", height), ("cy", height)):
            if name in element.attrib:
                assert 0 <= float(element.attrib[name]) <= limit, (element.tag, name)
        for x, y in (pair.split(",") for pair in element.attrib.get("points", "").split()):
            assert 0 <= float(x) <= width and 0 <= float(y) <= height
    return root


@given(
    TEXT, st.lists(st.tuples(st.floats(0, 1e9), VALUE | st.just(math.inf)), min_size=1, max_size=50), st.none() | VALUE
)
def test_a_chart_stays_in_its_frame(title: str, points: list[tuple[float, float]], objective: float | None) -> None:
    parsed(chart(title or "x", sorted(points), lambda value: f"{value:g}", "then", objective))


@given(st.floats(1e-6, 1e12))
def test_an_axis_ends_at_a_round_number_above_all_values(value: float) -> None:
    top = round_up(value)
    assert value <= top * (1 + 1e-9) and top <= value * 10
    assert re.fullmatch(r"[125]e[+-]\d+", f"{top:.0e}")


@given(st.just(0.0) | st.floats(1e-3, 1e7))
def test_an_axis_of_time_ends_at_a_round_span_above_all_values(seconds: float) -> None:
    top = round_up_time(seconds)
    assert seconds <= top * (1 + 1e-9) and top <= max(3.0 * seconds, 1.0)
    assert len(_on_axis(top)) <= 7


@given(TEXT, TEXT)
@example("\ufffe", "\ufffe")
def test_foreign_text_in_a_picture_is_text(name: str, owner: str) -> None:
    for draw in (flow, flow_down):
        root = parsed(draw([Station(name or "x", (owner,), "fault"), Station("b", (), "good")]))
        assert printable(name or "x") in "".join(root.itertext())
    shards = [Shard(0, owner, 1, 5.0, 7, None), SHARDS[1]]
    parsed(shard_cells(shards, owners(shards)))


def test_each_owner_has_a_letter_and_what_is_free_has_none() -> None:
    shards = [*SHARDS[:62], SHARDS[62]._replace(owner="two"), SHARDS[63]._replace(lease_left_s=-1.0)]
    root = parsed(shard_cells(shards, owners(shards)))
    letters = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert (letters.count("A"), letters.count("B"), letters.count(None)) == (62, 1, 1)
    assert [letter(number) for number in (0, 25, 26)] == ["A", "Z", "A1"]


@given(
    st.lists(st.tuples(st.sampled_from(["pending", "retry", "dead", "delivered"]), st.floats(-1e12, 1e12)), max_size=60)
)
def test_a_timeline_has_a_row_for_each_event_and_marks_the_one_in_the_way(
    given_events: list[tuple[str, float]],
) -> None:
    events = [
        ListedEvent(
            seq, "id", "t", "k", state, at, at + 5 if state == "delivered" else None, None, None, 0, None,
            at + 1 if state == "dead" else None, None,
        )
        for seq, (state, at) in enumerate(given_events)
    ]  # fmt: skip
    picture = timeline(events, events[-1] if events else None, 1e12)
    if not events:
        assert picture == ""
        return
    root = parsed(picture)
    assert sum(element.attrib.get("r") == "5" for element in root.iter()) == min(24, len(events))
    assert sum("◀" in (element.text or "") for element in root.iter()) == 1


def look(at: float, *slots: DeliveredSlot, oldest_at: float | None = None) -> Status:
    oldest = None if oldest_at is None else PENDING._replace(created_at=oldest_at)
    return replace(WELL, at=at, oldest=oldest, slots=slots)


@given(st.lists(st.floats(0, 7200), max_size=60), st.lists(st.floats(0, 7200), min_size=1, max_size=20))
def test_the_history_is_what_was_delivered_whenever_somebody_looks(deliveries: list[float], looks: list[float]) -> None:
    def truth(begin: float, now: float) -> list[DeliveredSlot]:
        counts = Counter(slot_of(at) for at in deliveries if begin <= slot_of(at) and at <= now)
        return [DeliveredSlot(at, count) for at, count in counts.items()]

    history = LastHour()
    looks.sort()
    history.fill(truth(slot_of(looks[0] - LAST_S), looks[0]))
    before = looks[0]
    for now in looks:
        history.add(look(now, *truth(changed_since(before), now)))
        before = now
    slots = history.slots(now)
    assert all(later.at - earlier.at == SLOT_S for earlier, later in pairwise(slots))
    assert slots[0].at > now - LAST_S - SLOT_S and slots[-1].at == slot_of(now)
    expected = {one.at: one.delivered for one in truth(0.0, now) if one.at > now - LAST_S}
    assert {one.at: one.delivered for one in slots if one.delivered} == expected
    history.clear()
    assert history.slots(now) == []


@pytest.mark.parametrize("oldest_at", [math.inf, -math.inf])
def test_a_lag_that_is_unknown_is_the_largest_of_the_time_in_which_it_was_seen(oldest_at: float) -> None:
    history = LastHour()
    history.fill([DeliveredSlot(0.0, 3, 2.0, 1.0)])
    status = look(25.0, oldest_at=oldest_at)
    history.add(status)
    slots = history.slots(25.0)
    assert [one.lag_s for one in slots] == [2.0, 0.0, math.inf]
    assert "the longest of the last ten seconds unknown" in lag_picture(slots, 5.0)
    assert "lag unknown" in flow_picture(Look(25.0, status, None, None, None, ()), 5.0)


def test_the_lag_of_an_outage_is_known_for_the_time_in_which_nobody_looked() -> None:
    history = LastHour()
    history.fill([DeliveredSlot(0.0, 3, 2.0, 1.0), DeliveredSlot(40.0, 9, 33.0, 8.0)])
    history.add(look(55.0))
    assert [one.at for one in history.slots(55.0)] == [0, 10, 20, 30, 40, 50]
    assert [one.lag_s for one in history.slots(55.0)] == [2, 12, 22, 32, 33, 0]
    history.add(look(58.0, oldest_at=51.0))
    assert history.slots(58.0)[-1].lag_s == 7.0
    assert [one.lag_s for one in history.slots(75.0)[-3:]] == [9.0, 19.0, 24.0]
    history.add(look(76.0, DeliveredSlot(60.0, 1, 11.0, 51.0)))
    known = [one.lag_s for one in history.slots(76.0)[-3:]]
    assert known == [9.0, 11.0, 0.0], "what was guessed gives way to what is known"
