"""What may be adopted, and how a connector's options are translated."""

import shlex

import pytest

from relay.operate.adopt.connector import translate
from relay.operate.adopt.judge import Facts, Publication, Rights, judge, judge_streams, refusals, subjects_of
from relay.operate.adopt.mapping import Mapping, Source, faults, literal, values
from relay.operate.adopt.presets import PRESETS, REFUSED
from relay.rules.adoption import adoption_of, columns_of
from relay.text import quoted

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
    rights=Rights("me", "shop", True, ()),
    server=18,
    encoding="UTF8",
    outbox="public.outbox_events",
    payload_type="jsonb",
    relay_runs=False,
    publications=(),
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
    ],
)
def test_what_could_fail_the_application_is_refused(facts: Facts) -> None:
    assert not refusals(MAPPING, FACTS)
    assert [one.level for one in refusals(MAPPING, facts)] == ["fault"]


def test_a_reader_of_its_publication_and_subjects_that_die_are_said() -> None:
    found = judge(
        Mapping(topic="{type}", key="type"),
        FACTS._replace(
            publications=[Publication("dbz", False, True, "shop")],
            sample=[("orders.placed", None), ("bad subject", "k")],
        ),
        "shop.{topic}",
    )
    said = " ".join(one.seen for one in found)
    assert "publication dbz carries public.outbox" in said
    assert "'shop.bad subject'" in said
    assert "1 of 2 rows have no key" in said
    assert found[-1].level == "ok"


def test_a_tool_is_a_preset_or_refused_with_its_reason() -> None:
    assert not PRESETS.keys() & REFUSED.keys()
    assert all(REFUSED.values())


ROUTER = {"transforms": "outbox", "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter"}


def test_a_plain_connector_is_translated() -> None:
    found = translate({**ROUTER, "publication.autocreate.mode": "disabled", "heartbeat.interval.ms": "5000"})
    assert found.options == [
        "--preset", "debezium", "--source", "public.outbox", "--topic", "outbox.event.{aggregatetype}",
        "--header", "id=id", "--header", "type=type",
    ]  # fmt: skip
    assert found.refused == []
    options = shlex.join([*found.options, "--publication", "dbz_publication", "--slot", "debezium"])
    assert found.notes == [f"hand the table over by: relay adopt cutover {options}"]


def test_every_option_of_the_router_is_translated_or_refused_or_said() -> None:
    options = {
        "table.field.event.id": "event_id",
        "table.field.event.key": "aggregate",
        "table.field.event.payload": "body",
        "table.field.event.timestamp": "ts",
        "table.field.event.schema.version": "v",
        "table.fields.additional.placement": "tenant:header,kind:header:eventKind,a:envelope,p:partition",
        "table.field.additional.error.on.missing": "true",
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


def test_a_connector_without_the_router_is_refused() -> None:
    assert translate({"name": "x"}).refused


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
    found = adoption_of("app", "outbox", True, comment, "BEGIN RETURN NULL; END", ["id"])
    assert (found.outbox, found.unchanged, found.sound) == ("unknown", False, False)
