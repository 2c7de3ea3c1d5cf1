"""What pages conclude: concerns, the story of a key, owners, what of a reason can be searched for."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.console.concerns import concerns
from relay.console.key_story import key_story
from relay.console.owners import owners
from relay.console.pages.dead import searchable
from relay.console.seen_streams import OutboxSide, SeenStreams
from relay.console.stream_concerns import Outlook
from relay.operate.create_command import StreamLimits
from relay.operate.events import ListedEvent
from relay.operate.held import Held, HeldKeys, HeldTopic
from relay.operate.inserted import inserted_into, rates
from relay.operate.message_size import LargeDead
from relay.operate.nats_status import NatsView, StreamView
from relay.operate.sent_again import SentAgain
from relay.operate.status import Count, DeadReason, Loss, Oldest, Shard, Status, Waiting
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


@pytest.mark.parametrize("created_at", [math.inf, -math.inf])
def test_an_event_from_outside_of_time_is_told_as_one_of_unknown_age(created_at: float) -> None:
    status = replace(WELL, backlog=Count(1), oldest=PENDING._replace(created_at=created_at))
    (lag,) = concerns(status, NATS, 60.0, "skip")
    assert (lag.what[:43], lag.since) == ("The age of the oldest pending event is unkn", None)
    waiting = [Waiting("no stream", 1, 7, "orders.x", created_at, "configuration")]
    assert [one.since for one in concerns(replace(status, waiting=waiting), NATS, 60.0, "skip")] == [None]


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
HELD = Held(
    (HeldTopic("billing.sent", False, 200, "k"), HeldTopic("orders.x", True, 9, "k7")),
    (HeldKeys(("billing.sent",), False, 40), HeldKeys(("orders.x",), True, 1)),
    True,
)
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
    assert one.command == "relay stream edit BILLING --max-msgs 20000"
    assert concerns(WELL, NatsView(None, "", (replace(half, growth=0.01),)), 60.0, "skip", SEEN) == []
    limit = int(one.command.split()[-1])
    raised = replace(half, messages=400, limit_at=limit, room=1 - 400 / limit)
    assert concerns(WELL, NatsView(None, "", (raised,)), 60.0, "skip", SEEN) == [], "its own command is enough"


def test_an_outage_is_seen_since_it_was_found_unless_an_event_waits_for_longer() -> None:
    away = NatsView(unreachable="refused", since=999.5)
    (one,) = concerns(replace(WELL, last_delivered_at=992.0), away, 60.0, "skip")
    assert (one.since, one.begins) == (999.5, "Seen since")
    assert "the last event was delivered 8.0 s ago" in one.why
    waiting = replace(WELL, last_delivered_at=992.0, backlog=Count(3))
    (one,) = concerns(waiting, away, 60.0, "skip")
    assert (one.since, one.begins) == (992.0, "Nothing was delivered since")
    outage = Waiting("no acknowledgement in time", 1, 7, "x", 991.0, "outage")
    (one,) = concerns(replace(WELL, waiting=[outage]), away, 60.0, "skip")
    assert (one.since, one.begins, one.also) == (991.0, "Since", ("/events/7",))
    reached = replace(WELL, last_delivered_at=999.9)
    (one,) = concerns(reached, NatsView(unreachable="refused", since=900.0), 60.0, "skip")
    assert "The relays reach it" in one.why


def test_what_was_wrong_with_streams_stays_during_an_outage_as_nats_said_it() -> None:
    gone = StreamView("PAYMENTS", missing="stream not found", gone=True, since=940.0, subjects=("payments.>",))
    small = StreamView("CATALOG", subjects=("catalog.>",), max_msg_size=900)
    waits = Waiting("no stream takes this subject", 1, 8, "payments.captured", 930.0, "configuration")
    status = replace(WELL, waiting=[CAPACITY, waits], large=(LargeDead("catalog.changed", "k", 38, 1223, 700.0),))
    before = concerns(status, NatsView(None, "", (FULL, gone, small)), 60.0, "skip", SEEN)
    away = NatsView("refused", "", (FULL, gone, small), since=990.0, seen_at=957.0)
    first, *others = concerns(status, away, 60.0, "skip", SEEN)
    assert first.what == "NATS cannot be reached from here" and len(others) == 3
    assert [(one.what, one.since, one.command) for one in others] == [(a.what, a.since, a.command) for a in before]
    assert all(one.why.startswith("As NATS said 43 s ago: ") and "reached again: " in one.do for one in others)
    assert len(concerns(WELL, replace(away, seen_at=None), 60.0, "skip", SEEN)) == 1


def test_a_stream_that_is_gone_is_one_trouble_since_the_first_event_that_waits_for_it() -> None:
    gone = StreamView("PAYMENTS", missing="stream not found", gone=True, since=990.0, subjects=("payments.>",))
    waits = Waiting("no stream takes this subject", 1, 7, "payments.captured", 960.0, "configuration")
    (one,) = concerns(replace(WELL, waiting=[waits]), NatsView(None, "", (gone,)), 60.0, "skip")
    assert (one.since, one.begins) == (960.0, "Since")
    assert one.command == "relay stream create PAYMENTS --subject 'payments.>'"
    (one,) = concerns(WELL, NatsView(None, "", (gone,)), 60.0, "skip")
    assert (one.since, one.begins) == (990.0, "Seen since")


def test_a_lost_stream_is_made_again_with_the_limits_that_it_had() -> None:
    seen = SeenStreams()
    limits = StreamLimits(3, 120.0, 604_800.0, -1, 5000, 1024)
    seen.completed(NatsView(None, "", (StreamView("PAYMENTS", subjects=("payments.>",), limits=limits),)), 1.0)
    gone = StreamView("PAYMENTS", missing="stream not found", gone=True)
    (one,) = concerns(WELL, seen.completed(NatsView(None, "", (gone,)), 2.0), 60.0, "skip")
    assert one.command == (
        "relay stream create PAYMENTS --subject 'payments.>' --replicas 3 --max-age 604800s --max-msgs 5000"
        " --max-msg-size 1024"
    )


def test_a_command_never_has_a_placeholder() -> None:
    gone = StreamView("PAYMENTS", missing="stream not found", gone=True)
    (one,) = concerns(WELL, NatsView(None, "", (gone,)), 60.0, "skip")
    assert one.command == "relay doctor"


LATE = replace(WELL, oldest=PENDING._replace(created_at=900.0, key="k7"), dead=Count(1), backlog=Count(1))


@pytest.mark.parametrize(
    ("status", "nats", "held"),
    [
        (replace(LATE, dead=Count(0)), NatsView(unreachable="refused", since=950.0), None),
        (LATE, NATS, HELD._replace(behind=3)),
        (
            replace(LATE, dead=Count(0), oldest=PENDING._replace(created_at=900.0, topic="billing.x")),
            NatsView(None, "", (FULL,)),
            None,
        ),
        (replace(LATE, shards=[one._replace(lease_left_s=-5.0) for one in SHARDS]), NATS, None),
    ],
)
def test_the_lag_is_no_trouble_of_its_own_if_its_cause_is_told(status: Status, nats: NatsView, held: Held) -> None:
    told = concerns(status, nats, 60.0, "block", SEEN._replace(held=held))
    assert told and not any(one.what.startswith("The oldest pending event") for one in told)
    quiet = replace(status, shards=SHARDS, dead=Count(0))
    (one,) = concerns(quiet, NATS, 60.0, "block", SEEN._replace(held=None))
    assert one.what.startswith("The oldest pending event")


def test_what_was_lost_and_sent_again_is_told_with_what_stands_before_it() -> None:
    again = SentAgain("ORDERS", 21, 2, 3, 2, "k7", 940.0)
    (one,) = concerns(WELL, NATS, 60.0, "skip", SEEN._replace(again=(again,)))
    assert (one.level, one.since, one.page) == ("warning", 940.0, "/streams")
    assert one.what == "Stream ORDERS had lost 21 events, and they were sent again"
    assert one.why.startswith("3 of them, of 2 keys, stand behind newer events of their keys")
    assert "2 of them are not sent yet" in one.why and "/key?key=k7" in one.also
    assert "it is not sent (headers.seq)" in one.do and "go by the header" not in one.do
    (sent,) = concerns(WELL, NATS, 60.0, "skip", SEEN._replace(again=(again,), sends_seq=True))
    assert "go by the header Outbox-Seq can tell" in sent.do
    repaired = replace(WELL, losses=(Loss("ORDERS", None, 930.0), Loss("OTHER", None, 920.0)))
    both = concerns(repaired, NATS, 60.0, "skip", SEEN._replace(again=(again,)))
    assert [(one.what.split()[1], one.since) for one in both] == [("ORDERS", 940.0), ("OTHER", 920.0)]


def test_a_key_says_which_of_its_events_stand_behind_newer_ones() -> None:
    def stored(seq: int, place: int, error: str | None = None) -> ListedEvent:
        return event(seq, "delivered", error)._replace(stream="ORDERS", stream_seq=place)

    lost = "stream ORDERS lost it at sequence 1: sent again"
    assert key_story([[stored(1, 9, lost), stored(2, 8)]], ordered=True, on_dead="skip").late == (1,)
    assert key_story([[stored(1, 7, lost), stored(2, 8)]], ordered=True, on_dead="skip").late == ()
    assert key_story([[stored(1, 9), stored(2, 8)]], ordered=True, on_dead="skip").late == ()


def test_a_key_with_several_topics_counts_once() -> None:
    topics = (HeldTopic("a", True, 3, "k"), HeldTopic("b", True, 2, "k"), HeldTopic("b", False, 7, "z"))
    held = Held(topics, (HeldKeys(("a", "b"), True, 1), HeldKeys(("b",), False, 4)), True)
    assert str(held.of(lambda one: one.blocked)) == "5 events of 1 key"
    assert str(held.of(lambda one: one.topic == "b")) == "9 events of 5 keys"


def test_a_stream_grows_by_what_is_inserted_while_a_backlog_is_drained_into_it() -> None:
    seen = SeenStreams()
    drained = OutboxSide(lambda stream: True, lambda stream: 1.3)
    for at, messages in ((0.0, 400), (10.0, 600), (30.0, 900)):
        shown = seen.completed(
            NatsView(None, "", (replace(FULL, limit_at=9999, room=0.9, messages=messages),)), at, drained
        )
        assert shown.streams[0].growth == 1.3
    full = seen.completed(NatsView(None, "", (FULL,)), 40.0, OutboxSide(inserted=lambda stream: 1.3))
    assert full.streams[0].growth == 1.3, "it does not grow while it is full, and is told what comes"
    raised = replace(FULL, limit_at=9999, room=0.9, messages=5000)
    after = seen.completed(NatsView(None, "", (raised,)), 70.0, OutboxSide(inserted=lambda stream: 1.3))
    assert after.streams[0].growth == 1.3, "what was drained between two looks is no growth"


def test_a_burst_does_not_count_as_growth_and_a_young_outbox_has_none() -> None:
    found = rates([("billing.sent", "k", 560, 500), ("other.x", None, 60, 6)], 70.0)
    assert found is not None and found[0].rate == pytest.approx(1.0)
    assert inserted_into(("billing.>",), found, lambda topic, key: topic) == pytest.approx(1.0)
    assert rates([("billing.sent", "k", 560, 500)], 50.0) is None
    assert inserted_into(("billing.>",), None, lambda topic, key: topic) is None


def test_streams_that_nobody_has_seen_are_shown_by_their_names_during_an_outage() -> None:
    away = SeenStreams().completed(NatsView(unreachable="refused"), 5.0, OutboxSide(names=["ORDERS", "BILLING"]))
    assert [one.name for one in away.streams] == ["ORDERS", "BILLING"] and away.seen_at is None
    assert [one.missing for one in away.streams if one.missing] != [] and not any(one.gone for one in away.streams)


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
        seen = known.completed(NatsView(None, "", (replace(FULL, room=0.5, messages=messages),)), at)
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
    assert raised >= used + 4 * 3600 * growth


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
