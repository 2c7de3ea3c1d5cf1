"""What pages conclude: concerns, the story of a key, owners, what of a reason can be searched for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.console.concerns import concerns
from relay.console.key_story import key_story
from relay.console.owners import owners
from relay.console.pages.dead import searchable
from relay.console.seen_streams import SeenStreams
from relay.console.stream_concerns import Outlook
from relay.operate.events import ListedEvent
from relay.operate.held import Held, HeldTopic
from relay.operate.message_size import LargeDead
from relay.operate.nats_status import NatsView, StreamView
from relay.operate.status import Count, DeadReason, Oldest, Shard, Status, Waiting
from relay.operate.stream_room import raised_limit

SHARDS = [Shard(number, "one", 3, 8.0, 100, 1000.0) for number in range(64)]
WELL = Status(
    at=1000.0,
    table="outbox_events",
    origin="0badcafe",
    payload_type="jsonb",
    version=11,
    known_version=11,
    shards=SHARDS,
    watermark=100,
    newest=100,
    backlog=Count(0),
    oldest=None,
    retry=Count(0),
    next_retry_at=None,
    waiting=[],
    dead=Count(0),
    dead_mark="",
    dead_by_reason=[],
    delivered=Count(5),
    delivered_s=60.0,
    streams=["ORDERS"],
)
NATS = NatsView(None, "2.15.1", (StreamView("ORDERS"),))
PENDING = Oldest(7, "id", "orders.x", None, 990.0, None)


def event(seq: int, state: str = "pending", error: str | None = None) -> ListedEvent:
    return ListedEvent(seq, "id", "t", "k", state, 0.0, None, None, None, 0, None, None, error)


def test_nothing_is_wrong_if_all_is_well() -> None:
    assert concerns(WELL, NATS, 60.0, "skip") == []
    assert concerns(WELL, None, 60.0, "block") == []


@pytest.mark.parametrize(
    ("status", "nats", "runbook", "level"),
    [
        (replace(WELL, shards=[one._replace(lease_left_s=-5.0) for one in SHARDS]), NATS, "OutboxRelayDown", "warning"),
        (
            replace(WELL, shards=[one._replace(owner=None, lease_left_s=None) for one in SHARDS], backlog=Count(1)),
            NATS,
            "OutboxRelayDown",
            "fault",
        ),
        (
            replace(WELL, shards=[SHARDS[0]._replace(lease_left_s=-1.0), *SHARDS[1:]]),
            NATS,
            "OutboxRelayShardsUnowned",
            "fault",
        ),
        (WELL, NatsView(unreachable="refused"), "OutboxRelayOutage", "fault"),
        (WELL, NatsView(None, "", (StreamView("ORDERS", missing="not found"),)), "OutboxRelayStreamLoss", "fault"),
        (
            WELL,
            NatsView(None, "", (StreamView("ORDERS", room=0.0, limit="max_msgs", refuses=True),)),
            "OutboxRelayCapacity",
            "fault",
        ),
        (
            WELL,
            NatsView(None, "", (StreamView("ORDERS", room=0.05, limit="max_msgs", refuses=True),)),
            "OutboxRelayCapacity",
            "warning",
        ),
        (
            replace(WELL, waiting=[Waiting("no stream takes this subject", 1, 7, "x", 900.0, "configuration")]),
            NATS,
            "OutboxRelayMisconfigured",
            "fault",
        ),
        (replace(WELL, oldest=PENDING._replace(created_at=900.0)), NATS, "OutboxRelayLagOverObjective", "fault"),
        (
            replace(WELL, dead=Count(2), dead_by_reason=[DeadReason("too large", 2)]),
            NATS,
            "OutboxRelayDeadLettersUndecided",
            "warning",
        ),
        (replace(WELL, version=12), NATS, "OutboxRelayDown", "warning"),
    ],
)
def test_each_thing_that_is_wrong_is_named_with_its_runbook(
    status: Status, nats: NatsView, runbook: str, level: str
) -> None:
    (found,) = concerns(status, nats, 60.0, "skip")
    assert (found.runbook, found.level) == (runbook, level)
    assert found.what and found.why and found.do and found.command.startswith("relay ")


FULL = StreamView(
    "BILLING",
    subjects=("billing.>",),
    messages=400,
    last_at=950.0,
    room=0.0,
    limit="max_msgs",
    limit_at=400,
    refuses=True,
)
CAPACITY = Waiting("maximum messages exceeded", 3, 7, "billing.sent", 600.0, "capacity")
HELD = Held((HeldTopic("billing.sent", False, 200, 40, "k"), HeldTopic("orders.x", True, 9, 1, "k7")), True)
SEEN = Outlook("redeliver", lambda topic, key: topic, HELD)


def test_a_full_stream_is_one_trouble_since_its_last_message_and_its_command_makes_room_for_what_waits() -> None:
    nats = NatsView(None, "", (FULL,))
    (one,) = concerns(replace(WELL, waiting=[CAPACITY], backlog=Count(209)), nats, 60.0, "skip", SEEN)
    assert (one.what, one.since, one.begins) == ("Stream BILLING is full", 950.0, "Since")
    assert one.command == "relay stream edit BILLING --max-msgs 750"
    assert "200 events of 40 keys wait" in one.why and "event 7" in one.why and one.also == ("/events/7",)


def test_a_stream_that_is_full_within_the_hour_is_told_before_it_is() -> None:
    half = replace(FULL, messages=200, room=0.5, growth=1.3)
    (one,) = concerns(WELL, NatsView(None, "", (half,)), 60.0, "skip", SEEN)
    assert (one.level, one.what) == ("warning", "Stream BILLING will soon be full")
    assert "grows by 1.3 messages a second: full in about 3 min" in one.why
    assert one.command == "relay stream edit BILLING --max-msgs 5300"
    assert concerns(WELL, NatsView(None, "", (replace(half, growth=0.01),)), 60.0, "skip", SEEN) == []


def test_an_outage_is_seen_since_it_was_found_unless_an_event_waits_for_longer() -> None:
    away = NatsView(unreachable="refused", since=999.5)
    (one,) = concerns(replace(WELL, last_delivered_at=992.0), away, 60.0, "skip")
    assert (one.since, one.begins) == (999.5, "Seen since")
    assert "the last event was delivered 8.0 s ago" in one.why
    outage = Waiting("no acknowledgement in time", 1, 7, "x", 991.0, "outage")
    (one,) = concerns(replace(WELL, waiting=[outage]), away, 60.0, "skip")
    assert (one.since, one.begins, one.also) == (991.0, "Since", ("/events/7",))
    reached = replace(WELL, last_delivered_at=999.9)
    (one,) = concerns(reached, NatsView(unreachable="refused", since=900.0), 60.0, "skip")
    assert "The relays reach it" in one.why


def test_a_stream_that_is_gone_is_one_trouble_since_the_first_event_that_waits_for_it() -> None:
    gone = StreamView("PAYMENTS", missing="stream not found", gone=True, since=990.0, subjects=("payments.>",))
    waits = Waiting("no stream takes this subject", 1, 7, "payments.captured", 960.0, "configuration")
    (one,) = concerns(replace(WELL, waiting=[waits]), NatsView(None, "", (gone,)), 60.0, "skip")
    assert (one.since, one.begins) == (960.0, "Since")
    assert one.command == "relay stream create PAYMENTS --subject 'payments.>'"
    (one,) = concerns(WELL, NatsView(None, "", (gone,)), 60.0, "skip")
    assert (one.since, one.begins) == (990.0, "Seen since")


def test_a_stream_whose_limit_kills_events_is_a_fault_with_the_command_that_raises_it() -> None:
    small = StreamView("CATALOG", subjects=("catalog.>",), max_msg_size=900)
    large = replace(WELL, large=(LargeDead("catalog.changed", "k", 38, 1223, 700.0),))
    (one,) = concerns(large, NatsView(None, "", (small,)), 60.0, "skip")
    assert one.level == "fault" and one.command == "relay stream edit CATALOG --max-msg-size 2048"
    assert "900 bytes" in one.why and "1,523" in one.why and "/doctor" in one.also and one.since == 700.0
    assert concerns(large, NatsView(None, "", (replace(small, max_msg_size=2048),)), 60.0, "skip") == []


def test_dead_letters_say_which_setting_decides() -> None:
    reasons = [DeadReason("refused by the stream: message size exceeds maximum allowed (10054)", 2)]
    (one,) = concerns(replace(WELL, dead=Count(2), dead_by_reason=reasons), NATS, 60.0, "block", SEEN)
    assert "(max_msg_size of the stream decides)" in one.why and "9 events of 1 key" in one.why


def test_what_nats_said_last_is_kept_with_its_time_and_growth_is_measured() -> None:
    known = SeenStreams()
    for at, messages in ((0.0, 100), (10.0, 113), (20.0, 126)):
        seen = known.completed(NatsView(None, "", (replace(FULL, messages=messages),)), at)
    assert seen.streams[0].growth == pytest.approx(1.3)
    away = known.completed(NatsView(unreachable="refused"), 25.0)
    assert (away.streams, away.since, away.seen_at) == (seen.streams, 25.0, 20.0)
    assert known.took == {"BILLING": ("billing.>",)} and known.growth == {"BILLING": pytest.approx(1.3)}
    purged = known.completed(NatsView(None, "", (replace(FULL, messages=5),)), 30.0)
    assert purged.streams[0].growth is None


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.none() | st.integers(0, 10**6), st.floats(0, 1e4))
def test_a_raised_limit_has_room_for_what_is_there_waits_and_comes(
    used: int, limit: int, waiting: int | None, growth: float
) -> None:
    raised = raised_limit(used, limit, waiting, growth)
    assert raised >= max(used, limit) + (waiting or 0) and raised > limit
    assert raised >= used + 3600 * growth


def test_a_stream_that_drops_old_messages_is_never_full() -> None:
    full = NatsView(None, "", (StreamView("ORDERS", room=0.0, limit="max_bytes", refuses=False),))
    assert concerns(WELL, full, 60.0, "skip") == []


def test_dead_letters_whose_keys_wait_are_a_fault_and_faults_come_first() -> None:
    status = replace(WELL, dead=Count(1), dead_by_reason=[DeadReason("too large", 1)], version=12)
    found = concerns(status, NATS, 60.0, "block")
    assert [one.level for one in found] == ["fault", "warning"]
    assert found[0].runbook == "OutboxRelayKeyBlocked"


@pytest.mark.parametrize(
    ("events", "on_dead", "blocker", "waiting"),
    [
        ([], "skip", None, 0),
        ([event(1, "delivered")], "skip", None, 0),
        ([event(1, "delivered"), event(2), event(3)], "skip", 2, 1),
        ([event(1, "dead"), event(2), event(3)], "skip", 2, 1),
        ([event(1, "dead"), event(2), event(3)], "block", 1, 2),
        ([event(1), event(2, "dead"), event(3)], "block", 1, 1),
        ([event(1, "dead"), event(2, "delivered")], "block", None, 0),
        ([event(1, "discarded"), event(2, "retry"), event(3)], "block", 2, 1),
    ],
)
def test_the_first_event_that_is_open_blocks_its_key(
    events: list[ListedEvent], on_dead: str, blocker: int | None, waiting: int
) -> None:
    story = key_story([events[::-1], events], ordered=True, on_dead=on_dead)
    assert [one.seq for one in story.events] == sorted(one.seq for one in events)
    assert (None if story.blocker is None else story.blocker.seq, story.waiting) == (blocker, waiting)
    assert key_story([events], ordered=False, on_dead=on_dead).blocker is None


def test_owners_are_ranked_by_their_share_and_what_is_free_comes_last() -> None:
    shards = [
        SHARDS[0]._replace(owner="b"),
        SHARDS[1]._replace(owner="a", lease_left_s=3.0),
        SHARDS[2]._replace(owner="a"),
        SHARDS[3]._replace(lease_left_s=-1.0),
    ]
    found = owners(shards)
    assert [(one.name, one.shards, one.number) for one in found] == [("a", 2, 0), ("b", 1, 1), (None, 1, 2)]
    assert found[0].lease_left_s == 3.0


WORDS = st.text(st.characters(blacklist_categories=["Nd", "Cs"], blacklist_characters=":"), max_size=30)


@given(WORDS, st.integers(10, 10**9))
def test_what_is_searched_for_stands_in_every_error_of_the_kind(words: str, number: int) -> None:
    others = [f"{words} {other} bytes" for other in (number, 7 * number, 11)]
    assert all(searchable(one) in other for one in others for other in others)
    assert searchable(None) == ""


@pytest.mark.parametrize(
    ("error", "searched"),
    [
        ("header Nats-Rollup would steer the server and is not allowed",) * 2,
        ("refused by the stream: message size exceeds maximum allowed (10054)",) * 2,
        ("the subject lies outside the allowed ones: 'x1.y'", "the subject lies outside the allowed ones"),
        ("headers of 60 and payload of 2000000 bytes: the server takes 1048576", "bytes: the server takes"),
        (f"{'x' * 90} 4711 {'y' * 90}", "x" * 90),
    ],
)
def test_letters_of_a_reason_are_no_numbers(error: str, searched: str) -> None:
    assert searchable(error) == searched
