"""What ``relay status`` says: pure."""

import math
from dataclasses import replace

import click
import pytest

from relay.cli.status_view import for_people, for_programs
from relay.observe.snapshot import ConsumerView
from relay.operate.nats_status import NatsView, StreamView
from relay.operate.pace import pace
from relay.operate.status import Count, Oldest, Shard, Status, Waiting

NOW = 2_000_000_000.0
STANDING = Status(
    at=NOW,
    table="outbox_events",
    payload_type="jsonb",
    version=4,
    known_version=4,
    origin="1f0c88aa",
    shards=[Shard(0, "host:1:a", 1, 8.0, 7, NOW - 2)],
    watermark=7,
    newest=9,
    backlog=Count(0),
    oldest=None,
    retry=Count(0),
    next_retry_at=None,
    waiting=[],
    dead=Count(0),
    dead_mark="",
    dead_by_reason=[],
    delivered=Count(0),
    delivered_s=60.0,
    streams=[],
)


def look(at: float, backlog: Count, delivered: int) -> Status:
    return replace(STANDING, at=at, backlog=backlog, delivered=Count(delivered))


def shown(standing: Status, nats: NatsView | None = None) -> dict[str, str]:
    lines = [click.unstyle(line) for line in for_people(standing, nats)]
    return dict(line.split("  ", 1) for line in lines if "  " in line)


def test_the_pace_is_measured_over_all_looks() -> None:
    measured = pace([look(0, Count(100), 999), look(2, Count(80), 30), look(4, Count(60), 50)])
    assert measured is not None
    assert measured.delivered == 20
    assert measured.backlog == -10


def test_there_is_no_pace_without_two_looks_at_different_times() -> None:
    assert pace([]) is None
    assert pace([look(0, Count(1), 1)]) is None
    assert pace([look(1, Count(1), 1), look(1, Count(1), 1)]) is None


def test_the_growth_of_a_backlog_that_was_not_counted_is_not_said() -> None:
    measured = pace([look(0, Count(100_000, "more than "), 0), look(2, Count(100), 0)])
    assert measured is not None
    assert measured.backlog is None


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (100, 80, "80, falling by 20/s: empty in 4.0 s"),
        (80, 100, "100, growing by 20/s"),
        (80, 80, "80"),
    ],
)
def test_where_the_backlog_goes_is_said(before: int, after: int, text: str) -> None:
    looks = [look(0, Count(before), 0), look(1, Count(after), 0)]
    lines = [click.unstyle(line) for line in for_people(looks[-1], None, pace(looks))]
    assert f"backlog       {text}" in lines


def test_what_waits_in_retry_says_when_the_next_is_due() -> None:
    assert "1, the next in 5.0 s" in shown(replace(STANDING, retry=Count(1), next_retry_at=NOW + 5))["in retry"]
    assert "1, the next is due" in shown(replace(STANDING, retry=Count(1), next_retry_at=NOW))["in retry"]


@pytest.mark.parametrize("created_at", ["-inf", "inf"])
def test_a_row_from_outside_of_time_has_an_unknown_lag_and_not_none(created_at: str) -> None:
    oldest = Oldest(8, "id", "t", None, float(created_at), None)
    waiting = Waiting("no stream", 1, 8, "t", oldest.created_at, None)
    standing = replace(STANDING, oldest=oldest, waiting=[waiting])
    assert standing.lag_s == math.inf
    lines = shown(standing)
    assert f"{created_at}inity" in lines["oldest pending"]
    assert lines["lag"].strip() == "unknown"
    (row,) = [line.split() for line in for_people(standing, None) if line.endswith("no stream")]
    assert row[1:3] == ["8", "unknown"]
    said = for_programs(standing, None)
    assert (said["lag_s"], said["oldest_pending"]["age_s"]) == (None, None)


def test_the_room_of_each_stream_is_said_with_what_happens_when_it_is_full() -> None:
    streams = (
        StreamView("A", room=None),
        StreamView("B", room=0.5, limit="max_bytes", refuses=True),
        StreamView("C", room=0.5, limit="max_bytes"),
        StreamView("D", room=0.0, limit="max_msgs", refuses=True),
        StreamView("E", missing="stream not found"),
    )
    text = "\n".join(for_people(STANDING, NatsView(None, "2.15.1", streams)))
    for said in (
        "no limit",
        "50% of max_bytes, then it refuses",
        "50% of max_bytes, then old messages go",
        "none, by max_msgs: it refuses what comes",
        "stream not found",
    ):
        assert said in text


def test_consumers_beyond_a_screenful_are_counted() -> None:
    consumers = tuple(ConsumerView("S", f"c{number}", 100 - number, 0, NOW - 1) for number in range(25))
    text = for_people(STANDING, NatsView(None, "2.15.1", (), consumers))
    assert text[-1] == "and 5 more that are no further behind"


def test_consumers_that_may_not_be_asked_for_are_said() -> None:
    text = for_people(STANDING, NatsView(None, "2.15.1", (StreamView("A"),), None))
    assert "how far the read models are cannot be seen: no right to ask for consumers" in text


def test_text_from_rows_cannot_steer_the_terminal() -> None:
    standing = replace(STANDING, oldest=Oldest(8, "id", "t\x1b[2J", None, NOW, "why\x1b[2J"))
    assert "\x1b[2J" not in "".join(for_people(standing, NatsView(unreachable="no\x1b[2J")))
