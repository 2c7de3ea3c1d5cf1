"""What may be adopted, and how a connector's options are translated."""

import json
import shlex
from pathlib import Path

import pytest

from relay.operate.adopt.connector import translate
from relay.operate.adopt.judge import Facts, Publication, Rights, judge, judge_streams, refusals, subjects_of
from relay.operate.adopt.mapping import Mapping, Source, faults, literal, values
from relay.operate.adopt.presets import PRESETS, REFUSED
from relay.rules.database.adoption import Carried, Installed, adoption_of, columns_of
from relay.rules.database.uncopied import Uncopied
from relay.text import quoted
from tests.support.relay_cli import relay

SOURCE = Source(
    "public",
    "outbox",
    {"id": "uuid", "type": "character varying", "payload": "jsonb", "text": "text", "raw": "bytea", "n": "integer"},
    ("id",),
)
MAPPING = Mapping(topic="orders.{type}")


@pytest.mark.parametrize(
    ("kind", "fits"),
    [
        ("payload", {"jsonb", "json", "text", "bytea"}),
        ("text", {"text", "bytea"}),
        ("raw", {"bytea"}),
        ("n", set()),
    ],
)
def test_no_payload_is_cast_that_could_fail(kind: str, fits: set[str]) -> None:
    mapping = Mapping(topic="orders", payload=kind)
    found = {one for one in ("jsonb", "json", "text", "bytea") if not faults(mapping, SOURCE, one, 18)}
    assert found == fits


def test_every_missing_column_is_named() -> None:
    mapping = Mapping(topic="{a}.{b->c}", key="d", headers=(("x", "e"),), created_at="f")
    said = " ".join(faults(mapping, SOURCE, "jsonb", 18))
    assert all(f"column {name} does not exist in public.outbox" in said for name in "abdef")


def test_a_text_is_read_as_json_only_if_the_server_can_tell_it_is() -> None:
    mapping = Mapping(topic="orders", key="text->key")
    assert not faults(mapping, SOURCE, "jsonb", 16)
    assert "takes PostgreSQL 16" in faults(mapping, SOURCE, "jsonb", 15)[0]
    assert not faults(Mapping(topic="orders", key="payload->key"), SOURCE, "jsonb", 15)


def test_expanding_takes_a_text_and_an_outbox_of_json() -> None:
    mapping = Mapping(topic="orders", payload="text", expand=True)
    assert not faults(mapping, SOURCE, "json", 18)
    assert faults(mapping, SOURCE, "jsonb", 18)
    assert faults(mapping, SOURCE, "json", 15)
    # What is JSON already stays as it is: connectors often have the option for such a column too.
    as_it_is = Mapping(topic="orders")
    expanded = Mapping(topic="orders", expand=True)
    assert not faults(expanded, SOURCE, "jsonb", 15)
    assert values(expanded, SOURCE, "jsonb") == values(as_it_is, SOURCE, "jsonb")


def test_purging_takes_a_key_of_one_column() -> None:
    two = Source("public", "outbox", SOURCE.columns, ("id", "n"))
    assert faults(Mapping(topic="a", purge=True), two, "jsonb", 18) == ["--purge needs a primary key of one column"]
    assert not faults(Mapping(topic="a", purge=True), SOURCE, "jsonb", 18)


def test_names_and_texts_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'
    assert literal("it's") == "'it''s'"
    assert literal("a\\'b") == "E'a\\\\''b'"
    made = values(Mapping(topic="it's {type}"), SOURCE, "jsonb")
    assert made["topic"] == "'it''s ' || coalesce(new.\"type\"::text, '')"


FACTS = Facts(
    source=SOURCE,
    kind="r",
    uncopied=(),
    rights=Rights("me", "shop", True, ()),
    server=18,
    encoding="UTF8",
    outbox="public.outbox_events",
    payload_type="jsonb",
    relay_runs=False,
    unpreparable=False,
    publications=(),
    hidden=False,
    ours=False,
    adopted=False,
    sample=(),
)


@pytest.mark.parametrize(
    "facts",
    [
        FACTS._replace(kind="v"),
        FACTS._replace(rights=Rights("me", "shop", False, ())),
        FACTS._replace(rights=Rights("me", "shop", True, [("insert", "GRANT x TO me")])),
        FACTS._replace(encoding="LATIN1"),
        FACTS._replace(payload_type="bytes"),
        FACTS._replace(uncopied=[Uncopied("child", "outbox_2026"), Uncopied("before", "route")]),
    ],
)
def test_what_could_fail_the_application_is_refused(facts: Facts) -> None:
    assert not refusals(MAPPING, FACTS)
    assert [one.level for one in refusals(MAPPING, facts)] == ["fault"]


def test_a_reader_of_its_publication_and_subjects_that_die_are_said() -> None:
    found = judge(
        Mapping(topic="{type}", key="type"),
        FACTS._replace(
            publications=[Publication("dbz", False, True, "shop", Carried("dbz"))],
            sample=[("orders.placed", None), ("bad subject", "k")],
        ),
        "shop.{topic}",
    )
    said = " ".join(one.seen for one in found)
    assert "publication dbz carries public.outbox" in said
    assert "'shop.bad subject'" in said
    assert "1 of 2 rows have no key" in said
    assert found[-1].level == "ok"


@pytest.mark.parametrize(
    ("facts", "seen"),
    [
        (FACTS._replace(hidden=True), "row-level security hides rows of public.outbox from me"),
        (FACTS._replace(unpreparable=True), "PREPARE TRANSACTION will fail"),
        (FACTS._replace(uncopied=[Uncopied("subscription", "outbox")]), "fire no trigger"),
        (FACTS._replace(kind="p"), "rows that a table holds when it becomes a partition"),
    ],
)
def test_what_the_application_or_the_events_would_suffer_from_is_said(facts: Facts, seen: str) -> None:
    mapping = Mapping(topic="orders", key="type")
    assert not [one for one in judge(mapping, FACTS, "{topic}") if one.level != "ok"]
    (said,) = [one for one in judge(mapping, facts, "{topic}") if one.level != "ok"]
    assert (said.level, seen in said.seen) == ("warning", True)


def test_a_tool_is_a_preset_or_refused_with_its_reason() -> None:
    assert not PRESETS.keys() & REFUSED.keys()
    assert all(REFUSED.values())


ROUTER = {"transforms": "outbox", "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter"}


def test_a_plain_connector_is_translated() -> None:
    plain = {"publication.autocreate.mode": "disabled", "heartbeat.interval.ms": "5000"}
    found = translate({**ROUTER, **plain, "table.include.list": "public.outbox"})
    assert found.options == [
        "--preset", "debezium", "--source", "public.outbox", "--topic", "outbox.event.{aggregatetype}",
        "--header", "id=id",
    ]  # fmt: skip
    assert found.refused == []
    options = shlex.join([*found.options, "--publication", "dbz_publication", "--slot", "debezium"])
    assert found.notes == [f"hand the table over by: relay adopt cutover {options}"]
    (assumed,) = set(translate({**ROUTER, **plain}).notes) - set(found.notes)
    assert assumed.startswith("table.include.list is not set: public.outbox is assumed")


def test_every_option_of_the_router_is_translated_or_refused_or_said() -> None:
    options = {
        "table.field.event.id": "event_id",
        "table.field.event.key": "aggregate",
        "table.field.event.payload": "body",
        "table.field.event.timestamp": "ts",
        "table.field.event.schema.version": "v",
        "table.fields.additional.placement": "tenant:header,kind:header:eventKind,a:envelope,p:partition",
        "table.fields.additional.error.on.missing": "true",
        "table.op.invalid.behavior": "warn",
        "table.expand.json.payload": "true",
        "table.json.payload.null.behavior": "optional_bytes",
        "route.by.field": "kind",
        "route.topic.regex": "(.*)x",
        "route.topic.replacement": "shop.${routedByValue}",
        "route.tombstone.on.empty.payload": "true",
        "tracing.span.context.field": "span",
        "tracing.operation.name": "x",
        "new.option": "1",
    }
    found = translate({**ROUTER, **{f"transforms.outbox.{name}": value for name, value in options.items()}})
    said = " ".join(found.options)
    for wanted in (
        "--id event_id", "--key aggregate", "--payload body", "--created-at ts", "--header schema-version=v",
        "--header tenant=tenant", "--header eventKind=kind", "--expand", "--trace span", "--empty send",
    ):  # fmt: skip
        assert wanted in said
    assert [one.split()[0] for one in found.refused] == ["route.topic.regex", "a", "p", "new.option"]
    assert any("autocreate" in one for one in found.notes)
    assert any("heartbeat.interval.ms" in one for one in found.notes)


def test_options_that_only_matter_with_another_are_no_reason_to_refuse() -> None:
    router = "transforms.outbox.table"
    lonely = {f"{router}.json.payload.null.behavior": "ignore", f"{router}.json.payload.empty.array.behavior": "none"}
    assert translate({**ROUTER, **lonely}).refused == []
    nulls = "members of a payload that are null stay, whereas the connector leaves them out"
    assert any(one.startswith(nulls) for one in translate({**ROUTER, f"{router}.expand.json.payload": "true"}).notes)


PROPERTIES = r"""
# Debezium Server
debezium.sink.type=nats-jetstream
debezium.source.table.include.list = public.outbox
debezium.source.publication.name: shop
debezium.source.slot.name=\
    shop_slot
debezium.transforms=outbox
debezium.transforms.outbox.type=io.debezium.transforms.outbox.EventRouter
debezium.transforms.outbox.route.topic.replacement=shop.${routedByValue}
debezium.transforms.outbox.table.expand.json.payload=true
"""


def test_a_connector_is_read_from_json_and_from_properties(tmp_path: Path) -> None:
    path = tmp_path / "connector"
    inner = {"table.include.list": "public.outbox", "publication.name": "shop", "slot.name": "shop_slot"}
    router = {
        "transforms.outbox.route.topic.replacement": "shop.${routedByValue}",
        "transforms.outbox.table.expand.json.payload": True,
    }
    said = []
    for text in (json.dumps({"name": "x", "config": ROUTER | inner | router}), PROPERTIES):
        path.write_text(text, "utf-8")
        result = relay(None, "adopt", "read-connector", str(path))
        assert result.exit_code == 0, result.output
        said.append((result.stdout, result.stderr))
    assert said[0] == said[1]
    assert "--source public.outbox --topic 'shop.{aggregatetype}'" in said[0][0]
    assert "--expand" in said[0][0]
    assert "--publication shop --slot shop_slot" in said[0][1]
    for text in ("", "hello", "[1]", "{"):
        path.write_text(text, "utf-8")
        assert relay(None, "adopt", "read-connector", str(path)).exit_code == 2
    path.write_text("a=b", "utf-8")
    assert relay(None, "adopt", "read-connector", str(path)).exit_code == 8


def test_a_connector_without_the_router_is_refused() -> None:
    assert translate({"name": "x"}).refused
    assert not translate({**ROUTER, "transforms": "other"}).options


BESIDE = {
    "route": ("org.apache.kafka.connect.transforms.RegexRouter", "--topic-sql"),
    "unwrap": ("io.debezium.transforms.ExtractNewRecordState", "is not made here"),
    "add": ("org.apache.kafka.connect.transforms.InsertField$Value", "is not made here"),
    "mark": ("org.apache.kafka.connect.transforms.InsertHeader", "--header"),
    "drop": ("io.debezium.transforms.Filter", "--when"),
    "second": ("io.debezium.transforms.outbox.EventRouter", "adopt its table by itself"),
    "none": (None, "without a type"),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("order", ["outbox, {}", "{},outbox"])
def test_every_other_transform_of_a_connector_is_refused_by_its_name(tmp_path: Path, name: str, order: str) -> None:
    kind, instead = BESIDE[name]
    if kind == ROUTER["transforms.outbox.type"] and not order.startswith("outbox"):
        name, order = "outbox", "second,{}"  # the first one is translated
        config = {**ROUTER, "transforms": order.format(name), "transforms.second.type": kind}
    else:
        config = {**ROUTER, "transforms": order.format(name)} | (
            {} if kind is None else {f"transforms.{name}.type": kind}
        )
    path = tmp_path / "connector.json"
    path.write_text(json.dumps(config), "utf-8")
    result = relay(None, "adopt", "read-connector", str(path))
    assert result.exit_code == 8, result.output
    (refused,) = [line for line in result.stderr.splitlines() if line.startswith("refused: ")]
    assert refused.startswith(f"refused: transform {name} (") and instead in refused
    assert "relay adopt cutover --preset" not in result.output


def test_a_predicate_of_the_router_is_refused_by_its_name() -> None:
    kind = "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"
    predicate = {
        "transforms.outbox.predicate": "isOutbox",
        "transforms.outbox.negate": "true",
        "predicates": "isOutbox",
    }
    (refused,) = translate({**ROUTER, **predicate, "predicates.isOutbox.type": kind}).refused
    assert refused.startswith("predicate isOutbox (TopicNameMatches) of outbox is not asked here")


def test_what_the_installed_function_reads_is_found_in_it() -> None:
    topic = "it's new.order {type}"
    mapping = Mapping(topic=topic, key="text", payload="payload", headers=(("new.x", "n"),))
    body = ",\n".join(values(mapping, SOURCE, "jsonb").values())
    assert set(columns_of(body)) == {"id", "type", "text", "payload", "n"}
    assert columns_of('new."A ""b""" || NEW.Ours || renew.x || \'new.no\'') == ['A "b"', "ours"]


def test_each_subject_of_the_sample_is_looked_up_once() -> None:
    facts = FACTS._replace(sample=[("b", "1"), ("a", None), ("b", "2")])
    assert subjects_of(facts, "x.{topic}") == ["x.b", "x.a"]


def test_subjects_that_no_stream_takes_are_told() -> None:
    assert judge_streams({}) == []
    found = judge_streams({"a.b": "A", "c": None, "a.c": "A"})
    assert [(one.level, one.seen) for one in found] == [
        ("warning", "no stream takes 1 of 3 subjects, such as c: their events wait"),
        ("ok", "2 subjects go to A"),
    ]


@pytest.mark.parametrize("comment", ['{"adopted_by": "outbox-relay"', '{"adopted_by": "outbox-relay", "outbox": 7}'])
def test_an_adoption_whose_comment_was_changed_by_hand_is_not_sound(comment: str) -> None:
    found = adoption_of(Installed("app", "outbox", True, comment, "BEGIN RETURN NULL; END", '{"id": "uuid"}'))
    assert (found.outbox, found.unchanged, found.sound) == ("unknown", False, False)


@pytest.mark.parametrize(
    ("noted", "clause"),
    [
        ({"publication": "dbz"}, ""),
        ({"publication": "dbz", "publication_columns": ["id", 'a"b']}, ' ("id", "a""b")'),
        ({"publication": "dbz", "publication_rows": "(kind = 1)"}, " WHERE ((kind = 1))"),
        ({"publication": "dbz", "publication_columns": 7, "publication_rows": 7}, ""),
        ({"publication": 7, "publication_rows": "true"}, None),
        ({}, None),
    ],
)
def test_how_the_publication_carried_the_table_is_read_from_the_comment(
    noted: dict[str, object], clause: str | None
) -> None:
    found = adoption_of(Installed("app", "outbox", True, json.dumps(noted), ""))
    assert (None if found.carried is None else found.carried.clause) == clause
