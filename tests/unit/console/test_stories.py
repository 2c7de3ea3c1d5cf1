"""What pages conclude: concerns, the story of a key, owners, what of a reason can be searched for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.console.concerns import concerns
from relay.console.key_story import key_story
from relay.console.owners import owners
from relay.console.pages.dead import searchable
from relay.operate.events import ListedEvent
from relay.operate.nats_status import NatsView, StreamView
from relay.operate.status import Count, DeadReason, Oldest, Shard, Status, Waiting

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


@given(st.text(st.characters(blacklist_characters="N"), max_size=30), st.integers(10, 10**9))
def test_what_is_searched_for_stands_in_every_error_of_the_kind(words: str, number: int) -> None:
    error = f"{words} {number} bytes"
    kind = f"{words} N bytes"
    assert searchable(kind) in error
    assert searchable("no reason given") == ""
