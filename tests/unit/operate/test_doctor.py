"""The doctor's judgments: a good set-up gets nothing but ok, and each single fault its own line."""

from dataclasses import replace
from typing import Any

import pytest

from relay.operate.doctor.facts import (
    Expectation,
    GoneStream,
    Holders,
    Leases,
    NatsFacts,
    PostgresFacts,
    Right,
    Server,
    Session,
    StreamReport,
    SubjectFacts,
    Table,
    Topic,
)
from relay.operate.doctor.findings import Finding, count, seconds
from relay.operate.doctor.judge_clocks import judge_clocks
from relay.operate.doctor.judge_nats import judge_nats
from relay.operate.doctor.judge_postgres import judge_postgres
from relay.operate.doctor.rights import Wanted, wanted
from relay.postgres.tables import Tables
from relay.rules.database.adoption import Adoption

SERVER = Server(180006, "18.6", "UTF8", False, "relay_login", False, 0, True, True, True, False, False)
TABLE = Table("p", 45, True, "O", (), 1, 1, False, False, 1000, 10, 500, 500, 1.0, 8192)
HOLDERS = Holders(0, None, (), 0.1, 3)
POSTGRES = PostgresFacts(
    schema_version=1,
    wanted_version=1,
    payload_type="jsonb",
    server=SERVER,
    rights=(Right("SELECT", "outbox_events"),),
    table=TABLE,
    holders=HOLDERS,
    leases=Leases(64, True, 9.9, None),
    session=Session(pooler=False, shared=False, ring_s=0.001),
    skew_s=0.01,
)
TOPIC = Topic("orders.placed", None, 10, 2, 500)
SUBJECT = SubjectFacts(TOPIC, "orders.placed", stream="ORDERS", answer="refused")
CONFIG: dict[str, Any] = {
    "retention": "limits",
    "storage": "file",
    "num_replicas": 1,
    "discard": "new",
    "max_msgs": -1,
    "max_bytes": -1,
    "max_msg_size": -1,
    "duplicate_window": 120_000_000_000,
    "allow_atomic": True,
    "allow_direct": True,
}
STREAM = StreamReport("ORDERS", CONFIG, {"messages": 10, "bytes": 1000, "consumer_count": 0})
NATS = NatsFacts(
    version="2.15.1",
    takes_atomic=True,
    max_payload=1_048_576,
    subjects=(SUBJECT,),
    streams=(STREAM,),
    skew_s=-0.01,
)
PLAN = Expectation()


def stream(state: dict[str, Any] | None = None, **config: Any) -> NatsFacts:
    """Return good facts with a stream of another configuration."""
    return replace(NATS, streams=(replace(STREAM, config=CONFIG | config, state=STREAM.state | (state or {})),))


def raised(findings: list[Finding]) -> list[tuple[str, str]]:
    """Return what is not ok."""
    return [(one.check, one.level) for one in findings if one.level != "ok"]


def test_a_good_set_up_gets_nothing_but_ok() -> None:
    findings = [*judge_postgres(POSTGRES, PLAN), *judge_nats(NATS, PLAN), *judge_clocks(POSTGRES, NATS)]
    assert raised(findings) == []
    assert len({(one.part, one.check) for one in findings}) == len(findings)


def test_room_is_proposed_for_what_waits_and_for_what_is_inserted() -> None:
    busy = replace(SUBJECT, topic=replace(TOPIC, pending=500, rate=1.4))
    full = stream({"messages": 400}, max_msgs=400, discard="new")
    (one,) = [found for found in judge_nats(replace(full, subjects=(busy,)), PLAN) if found.check.endswith(": room")]
    assert one.do == "relay stream edit ORDERS --max-msgs 22000"


@pytest.mark.parametrize(
    ("facts", "check", "level"),
    [
        (PostgresFacts(error="connection refused"), "connection", "fault"),
        (replace(POSTGRES, server=replace(SERVER, version_number=130012)), "version", "fault"),
        (replace(POSTGRES, server=replace(SERVER, in_recovery=True)), "primary", "fault"),
        (replace(POSTGRES, server=replace(SERVER, read_only=True)), "primary", "fault"),
        (replace(POSTGRES, server=replace(SERVER, superuser=True)), "role", "warning"),
        (replace(POSTGRES, server=replace(SERVER, fsync=False)), "durability", "fault"),
        (replace(POSTGRES, server=replace(SERVER, max_prepared=10)), "bell", "warning"),
        (replace(POSTGRES, schema_version=None), "schema", "fault"),
        (replace(POSTGRES, wanted_version=2), "schema", "fault"),
        (replace(POSTGRES, schema_version=2), "schema", "fault"),
        (replace(POSTGRES, schema_version=2, oldest_relay=2), "schema", "fault"),
        (replace(POSTGRES, rights=(Right("DELETE", "outbox_events", "permission denied"),)), "rights", "fault"),
        (replace(POSTGRES, table=replace(TABLE, persistence="u")), "table", "fault"),
        (replace(POSTGRES, hidden="outbox_events"), "table", "fault"),
        (replace(POSTGRES, unreachable=True), "table", "fault"),
        (replace(POSTGRES, table=replace(TABLE, sequence_cache=None)), "sequence", "fault"),
        (replace(POSTGRES, table=replace(TABLE, sequence_cache=32)), "sequence", "fault"),
        (replace(POSTGRES, table=replace(TABLE, sequence_increment=-1)), "sequence", "fault"),
        (replace(POSTGRES, table=replace(TABLE, sequence_cycles=True)), "sequence", "fault"),
        (replace(POSTGRES, table=replace(TABLE, fillfactor=100)), "marks", "warning"),
        (replace(POSTGRES, table=replace(TABLE, marked_indexes=("i",))), "marks", "warning"),
        (replace(POSTGRES, table=replace(TABLE, autovacuum=False)), "autovacuum", "fault"),
        (replace(POSTGRES, server=replace(SERVER, autovacuum=False)), "autovacuum", "fault"),
        (replace(POSTGRES, table=replace(TABLE, dead=1_000_000)), "autovacuum", "warning"),
        (replace(POSTGRES, table=replace(TABLE, subscribed=True)), "replication", "warning"),
        (replace(POSTGRES, table=replace(TABLE, bell="D")), "bell", "warning"),
        (replace(POSTGRES, session=Session(True, False, None)), "notifications", "warning"),
        (replace(POSTGRES, session=None, bell_error="refused"), "bell address", "fault"),
        (replace(POSTGRES, leases=Leases(0, False, None, None)), "shards", "fault"),
        (replace(POSTGRES, leases=Leases(63, False, 9.0, None)), "shards", "fault"),
        (replace(POSTGRES, leases=Leases(64, True, 3600.0, None)), "leases", "warning"),
        (replace(POSTGRES, leases=Leases(64, True, 9.9, 3599.0)), "complete_up_to", "fault"),
        (replace(POSTGRES, holders=replace(HOLDERS, prepared=1, prepared_age_s=900.0)), "prepared", "warning"),
        (replace(POSTGRES, holders=replace(HOLDERS, oldest_s=900.0)), "transactions", "warning"),
        (replace(POSTGRES, holders=replace(HOLDERS, idle_slots=("standby",))), "slots", "warning"),
    ],
)
def test_each_fault_of_postgres_gets_a_line_of_its_own(facts: PostgresFacts, check: str, level: str) -> None:
    findings = list(judge_postgres(facts, PLAN))
    assert raised(findings) == [(check, level)]
    (told,) = [one for one in findings if one.level != "ok"]
    assert told.seen
    assert told.do


def test_a_newer_schema_that_lets_this_relay_go_on_is_good() -> None:
    assert raised(list(judge_postgres(replace(POSTGRES, schema_version=2, oldest_relay=1), PLAN))) == []


@pytest.mark.parametrize(
    ("facts", "check", "level"),
    [
        (NatsFacts(error="Authorization Violation"), "connection", "fault"),
        (replace(NATS, local=False), "connection", "warning"),
        (replace(NATS, subjects=(replace(SUBJECT, permitted=False),)), "subject orders.placed", "fault"),
        (replace(NATS, subjects=(replace(SUBJECT, stream=None),)), "subject orders.placed", "fault"),
        (replace(NATS, subjects=(replace(SUBJECT, answer="silence"),)), "subject orders.placed", "fault"),
        (replace(NATS, subjects=(replace(SUBJECT, answer="nobody"),)), "subject orders.placed", "fault"),
        (replace(NATS, subjects=(SubjectFacts(TOPIC, None, fault="wildcard"),)), "topic orders.placed", "fault"),
        (replace(NATS, max_payload=700), "max_payload", "fault"),
        (replace(NATS, max_payload=900), "max_payload", "warning"),
        (replace(NATS, streams=(replace(STREAM, refused=("$JS.API.X",)),)), "stream ORDERS: rights", "warning"),
        (stream(no_ack=True), "stream ORDERS: answers", "fault"),
        (stream(sealed=True), "stream ORDERS: answers", "fault"),
        (stream(allow_msg_ttl=True), "stream ORDERS: removals", "warning"),
        (stream(allow_rollup_hdrs=True), "stream ORDERS: removals", "warning"),
        (stream(storage="memory"), "stream ORDERS: storage", "warning"),
        (stream(persist_mode="async"), "stream ORDERS: storage", "warning"),
        (stream(discard="old", max_msgs=1000), "stream ORDERS: room", "warning"),
        (stream(max_bytes=1001), "stream ORDERS: room", "warning"),
        (stream(max_bytes=1000), "stream ORDERS: room", "fault"),
        (replace(NATS, gone=(GoneStream("PAYMENTS", ("payments.>",), 5),)), "stream PAYMENTS", "fault"),
        (replace(stream(max_bytes=1_000_000), version="2.9.10"), "stream ORDERS: room", "warning"),
        (stream(max_msg_size=700), "stream ORDERS: size", "fault"),
        (stream(max_msg_size=900), "stream ORDERS: size", "warning"),
        (stream(duplicate_window=1_000_000_000), "stream ORDERS: duplicates", "fault"),
        (stream(duplicate_window=10_000_000_000), "stream ORDERS: duplicates", "warning"),
        (stream(allow_direct=False), "stream ORDERS: reads", "warning"),
    ],
)
def test_each_fault_of_nats_gets_a_line_of_its_own(facts: NatsFacts, check: str, level: str) -> None:
    findings = list(judge_nats(facts, PLAN))
    assert raised(findings) == [(check, level)]
    (told,) = [one for one in findings if one.level != "ok"]
    assert told.do


def test_a_login_that_is_to_look_need_not_write() -> None:
    assert POSTGRES.server is not None
    looking = replace(POSTGRES, server=replace(POSTGRES.server, read_only=True), rights=(Right("SELECT", "t", None),))
    assert [one.check for one in judge_postgres(looking, PLAN) if one.level == "fault"] == ["primary"]
    plan = replace(PLAN, role="reader")
    assert [one.check for one in judge_postgres(looking, plan) if one.level == "fault"] == []
    blind = replace(looking, rights=(Right("SELECT", "t", "permission denied"),))
    (told,) = [one for one in judge_postgres(blind, plan) if one.level == "fault"]
    assert told.do.startswith("GRANT outbox_reader to this role")


@pytest.mark.parametrize(
    ("facts", "others"),
    [
        (stream(retention="interest"), [("stream ORDERS: retention", "fault")]),
        (stream({"consumer_count": 1}, retention="interest"), [("stream ORDERS: retention", "warning")]),
        (stream(retention="workqueue"), [("stream ORDERS: retention", "warning")]),
        (stream(discard="old", max_msgs_per_subject=1), [("stream ORDERS: room", "warning")]),
        (stream(discard="new", discard_new_per_subject=True, max_msgs_per_subject=9), None),
    ],
)
def test_what_a_stream_removes_from_its_middle_is_told_unless_losses_are_left_to_the_operator(
    facts: NatsFacts, others: list[tuple[str, str]] | None
) -> None:
    removals = [] if others is None else [("stream ORDERS: removals", "warning")]
    assert sorted(raised(list(judge_nats(facts, PLAN)))) == sorted([*removals, *(others or [])])
    assert raised(list(judge_nats(facts, replace(PLAN, heals=False)))) == (others or [])


def test_a_cluster_asks_for_more_than_one_copy_and_for_all_of_them() -> None:
    alone = replace(STREAM, cluster={"name": "c1", "leader": "a"})
    assert raised(list(judge_nats(replace(NATS, streams=(alone,)), PLAN))) == [("stream ORDERS: replicas", "warning")]
    behind = {
        "name": "c1",
        "replicas": [{"name": "b", "current": True}, {"name": "c", "current": False, "offline": True}],
    }
    three = replace(STREAM, config=CONFIG | {"num_replicas": 3}, cluster=behind)
    (told,) = [one for one in judge_nats(replace(NATS, streams=(three,)), PLAN) if one.level != "ok"]
    assert told.seen == "c of 3 behind or offline"
    assert (
        told.do.startswith("`nats stream info ORDERS` shows its copies") and "`relay stream show` does not" in told.do
    )


def test_batches_are_a_fault_only_where_they_are_insisted_on() -> None:
    without = stream(allow_atomic=False)
    assert raised(list(judge_nats(without, PLAN))) == []
    insisting = list(judge_nats(without, replace(PLAN, strategy="atomic")))
    assert raised(insisting) == [("stream ORDERS: batches", "fault")]


def test_a_subject_without_a_stream_comes_with_the_commands_that_give_it_one() -> None:
    for manages, by in ((False, "`relay stream edit` (with all of its subjects)"), (True, "[stream] subjects")):
        homeless = replace(NATS, subjects=(replace(SUBJECT, stream=None),))
        found = [one.do for one in judge_nats(homeless, replace(PLAN, manages_stream=manages))]
        make = f"`relay stream create NAME --subject {SUBJECT.subject}`"
        assert f"add the subject to a stream by {by}, or make one: {make}" in found


def test_a_command_that_mends_a_stream_is_ours_and_names_it() -> None:
    poor = stream(allow_direct=False, allow_atomic=False, discard="old", max_bytes=10**9)
    found = [one.do for one in judge_nats(poor, replace(PLAN, strategy="atomic")) if one.level != "ok" and one.do]
    assert found == [
        f"relay stream edit ORDERS --{option}" for option in ("discard new", "allow-atomic", "allow-direct")
    ]


def test_without_look_ups_it_says_what_cannot_be_told() -> None:
    blind = replace(NATS, names_allowed=False, subjects=(replace(SUBJECT, stream=None, looked_up=False),), streams=())
    assert raised(list(judge_nats(blind, PLAN))) == [("look-up", "warning")]


def test_a_pooler_matters_where_the_bell_is_wanted() -> None:
    shared = replace(POSTGRES, session=Session(pooler=True, shared=True, ring_s=None))
    assert raised(list(judge_postgres(shared, PLAN))) == [("session", "warning"), ("notifications", "warning")]
    assert raised(list(judge_postgres(shared, replace(PLAN, bell=False)))) == []


def test_without_the_trigger_prepared_transactions_are_no_matter() -> None:
    off = replace(POSTGRES, table=replace(TABLE, bell=None), server=replace(SERVER, max_prepared=10))
    assert raised(list(judge_postgres(off, PLAN))) == []


@pytest.mark.parametrize(("skew", "level"), [(0.5, "ok"), (-2.0, "warning"), (2.0, "warning"), (-90.0, "fault")])
def test_clocks_may_be_a_second_apart(skew: float, level: str) -> None:
    findings = list(judge_clocks(replace(POSTGRES, skew_s=skew), replace(NATS, skew_s=None)))
    assert [one.level for one in findings] == [level]


def test_the_rights_are_those_of_the_roles_file() -> None:
    found = list(wanted(Tables("app.billing_events").file("roles"), "billing_relay"))
    assert Wanted("SELECT", "app.billing_events") in found
    assert Wanted("DELETE", "app.billing_events") in found
    assert Wanted("SELECT", "app.billing_migrations") in found
    (update,) = [one for one in found if one.verb == "UPDATE" and one.table == "app.billing_events"]
    assert {"delivered_at", "dead_at"} <= set(update.columns)
    assert not [one for one in found if one.verb == "INSERT" and one.table == "app.billing_events"]


def test_spans_are_said_as_they_are_configured() -> None:
    assert [seconds(span) for span in (0, 0.002, 1, 2.5, 120)] == ["0 s", "2 ms", "1 s", "2.5 s", "120 s"]


def test_findings_are_counted_by_level() -> None:
    findings = list(judge_nats(stream(no_ack=True, sealed=True, allow_direct=False), PLAN))
    assert (count(findings, "fault"), count(findings, "warning")) == (2, 1)


def test_an_adoption_of_an_earlier_version_is_a_warning() -> None:
    adoption = Adoption("app.outbox", "app.outbox", True, "public.outbox_events", "debezium", True, (), form=1)
    findings = list(judge_postgres(replace(POSTGRES, adoptions=(adoption,)), PLAN))
    assert raised(findings) == [("adoption app.outbox", "warning")]
    assert "but one whose id the outbox holds" in findings[-1].seen


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({}, None),
        ({"enabled": False}, "its trigger is disabled"),
        ({"unchanged": False}, "changed by another hand"),
        ({"missing": ("type",)}, "each insert fails: the table has no column type"),
    ],
)
def test_an_adoption_that_does_not_copy_is_a_fault(change: dict[str, Any], seen: str | None) -> None:
    adoption = Adoption("app.outbox", "app.outbox", True, "public.outbox_events", "debezium", True, ())._replace(
        **change
    )
    findings = list(judge_postgres(replace(POSTGRES, adoptions=(adoption,)), PLAN))
    assert raised(findings) == ([] if seen is None else [("adoption app.outbox", "fault")])
    assert (seen or "copies each new row") in findings[-1].seen
