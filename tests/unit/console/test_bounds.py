"""What was counted in part says so, wherever it is shown."""

from dataclasses import replace

from relay.console.concerns import concerns
from relay.console.key_story import key_story
from relay.console.live import Look
from relay.console.overview_pictures import flow_picture
from relay.operate.status import Count, DeadReason
from tests.unit.console.test_stories import NATS, WELL, event

# A character of the pictures' text takes less, of 11 px.
_CHARACTER = 6.2


def test_dead_letters_that_were_counted_in_part_say_so() -> None:
    part = replace(
        WELL, dead=Count(10_000, "more than "), dead_by_reason=[DeadReason("too large", 2_000)], reasons_of=2_000
    )
    (one,) = concerns(part, NATS, 60.0, "skip")
    assert one.what == "More than 10,000 dead letters without a decision"
    assert one.why.startswith("Of the newest 2,000, 2,000: too large")


def test_a_key_whose_events_were_found_in_part_says_so_of_what_waits() -> None:
    for is_part in (True, False):
        story = key_story([[event(1, "retry"), event(2)]], ordered=True, on_dead="skip", is_part=is_part)
        assert story.is_part is is_part
        assert ("at least 1 wait" in story.verdict) is is_part


def test_the_longest_backlog_stays_in_its_box() -> None:
    backlog = replace(WELL, backlog=Count(100_000, "more than "))
    picture = flow_picture(Look(1000.0, backlog, None, NATS, None, ()), 60.0)
    text = "100,000+ pending"
    assert text in picture
    box = float(picture.partition('width="')[2].partition('"')[0])
    assert 7 + len(text) * _CHARACTER < box
