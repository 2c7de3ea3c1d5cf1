"""What teams write into a Debezium connector is read as Debezium reads it, or refused with the reason."""

import json
from pathlib import Path

import pytest

from relay.operate.adopt.connector import Translated, translate
from relay.operate.adopt.connector_file import options_of
from tests.support.relay_cli import relay

ROUTER = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "transforms": "outbox",
    "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
}
TABLE = {"table.include.list": "public.outbox"}
MATCHES = "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"


def router(**options: str) -> Translated:
    """Translate a connector of public.outbox with some options of its router, dots for underlines twice."""
    given = {f"transforms.outbox.{name.replace('__', '.')}": value for name, value in options.items()}
    return translate({**ROUTER, **TABLE, **given})


def value_of(found: Translated, option: str) -> str | None:
    return found.options[found.options.index(option) + 1] if option in found.options else None


@pytest.mark.parametrize(
    "written",
    [
        "public.outbox", r"public\.outbox", "public[.]outbox", r"^public\.outbox$", " public.outbox ,",
        r"public.outbox,public\.outbox",
    ],
)  # fmt: skip
def test_a_list_that_stands_for_one_table_is_that_table(written: str) -> None:
    for option in ("table.include.list", "table.whitelist"):
        found = translate({**ROUTER, option: written})
        assert (value_of(found, "--source"), found.refused) == ("public.outbox", [])


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("public.outbox,public.orders", "names several tables (public.outbox, public.orders): adopt each by itself"),
        (r"public\.outbox.*", "is a pattern, which may stand for several tables"),
        (r"public\.(outbox|events)", "is a pattern"),
        (r"public\.outbox\d", "is a pattern"),
        ("${env:OUTBOX}", "is a pattern"),
        ("outbox", "is not of the form schema.table"),
        ("shop.public.outbox", "is not of the form schema.table"),
    ],
)
def test_any_other_list_is_refused_with_the_reason(written: str, why: str) -> None:
    found = translate({**ROUTER, "table.include.list": written})
    (refused,) = found.refused
    assert refused.startswith("table.include.list ") and why in refused and "--source" in refused
    assert "--source" not in found.options


@pytest.mark.parametrize("schemas", ["public", "PUBLIC", "public, shop", r"^public$"])
def test_a_list_of_schemas_that_holds_the_tables_changes_nothing(schemas: str) -> None:
    assert translate({**ROUTER, **TABLE, "schema.include.list": schemas}).refused == []
    assert translate({**ROUTER, **TABLE, "schema.whitelist": schemas}).refused == []


def test_a_list_of_schemas_without_the_tables_is_refused() -> None:
    (refused,) = translate({**ROUTER, **TABLE, "schema.include.list": "shop"}).refused
    assert "which schema.include.list 'shop' leaves out: the connector reads nothing" in refused
    (refused,) = translate({**ROUTER, "schema.include.list": "shop"}).refused
    assert refused == "schema.include.list 'shop' without table.include.list names no table: name it by --source"


PREDICATE = {
    "topic.prefix": "shop-db",
    "predicates": "isOutbox",
    "predicates.isOutbox.type": MATCHES,
    "predicates.isOutbox.pattern": r"shop-db\.public\.outbox",
    "transforms.outbox.predicate": "isOutbox",
}


def test_a_predicate_that_lets_every_row_of_the_table_through_is_no_reason_to_refuse() -> None:
    assert translate({**ROUTER, **TABLE, **PREDICATE}).refused == []
    assert translate({**ROUTER, **TABLE, **PREDICATE, "predicates.isOutbox.pattern": r".*\.outbox"}).refused == []
    beats = {"predicates.isOutbox.pattern": "__debezium-heartbeat.*", "transforms.outbox.negate": "true"}
    assert translate({**ROUTER, **TABLE, **PREDICATE, **beats}).refused == []


@pytest.mark.parametrize(
    "other",
    [
        {"transforms.outbox.negate": "true"},
        {"topic.prefix": "other"},
        {"predicates.isOutbox.pattern": "(?<"},
        {"predicates.isOutbox.type": "org.apache.kafka.connect.transforms.predicates.HasHeaderKey"},
    ],
)
def test_a_predicate_of_which_that_is_not_known_is_refused(other: dict[str, str]) -> None:
    (refused,) = translate({**ROUTER, **TABLE, **PREDICATE, **other}).refused
    assert refused.startswith("predicate isOutbox (")


def test_of_several_tables_the_predicate_tells_the_one_that_is_routed() -> None:
    """A connector whose heartbeat writes a row of its own reads the table of that as well."""
    found = translate({**ROUTER, **PREDICATE, "table.include.list": "public.outbox,public.beats"})
    assert (value_of(found, "--source"), found.refused) == ("public.outbox", [])
    assert "public.beats of table.include.list is left as it is: isOutbox keeps it from the router" in found.notes
    both = {"table.include.list": "public.outbox,public.beats", "predicates.isOutbox.pattern": ".*"}
    assert "names several tables" in translate({**ROUTER, **PREDICATE, **both}).refused[0]


@pytest.mark.parametrize(
    ("regex", "replacement", "topic"),
    [
        ("(?<r>.*)", "${r}-events", "{kind}-events"),
        ("(?P<r>.*)", "${r}", "{kind}"),
        ("(.*)", "events.$1", "events.{kind}"),
        ("(.+)", "$1.v1", "{kind}.v1"),
        ("(.*)", "$0", "{kind}"),
        (".*", "shop.events", "shop.events"),
        (".*", "$0", "{kind}"),
        ("(.*)", "$12", None),
        (".*", "$1", None),
        (".*", "${routedByValue}", None),
        ("shop-(.*)", "$1", None),
    ],
)
def test_a_route_that_takes_the_whole_value_is_a_topic_and_any_other_is_refused(
    regex: str, replacement: str, topic: str | None
) -> None:
    found = router(route__by__field="kind", route__topic__regex=regex, route__topic__replacement=replacement)
    assert value_of(found, "--topic") == topic
    assert [one.split()[0] for one in found.refused] in ([], ["route.topic.regex"], ["route.topic.replacement"])
    assert bool(found.refused) == (topic is None)


def test_the_headers_are_those_that_the_router_sends() -> None:
    """It sends the id in the column that is named, and the type only if it is told to."""
    assert "--header id=event_id" in " ".join(router(table__field__event__id="event_id").options)
    assert "type=" not in " ".join(router().options)
    assert "--header type=kind" in " ".join(router(table__field__event__type="kind").options)
    spaced = router(table__fields__additional__placement=" kind : header : eventKind , tenant:header")
    assert "--header eventKind=kind --header tenant=tenant" in " ".join(spaced.options)


def test_the_id_of_messages_is_the_relays_own_header() -> None:
    same = router(table__field__event__id="uid", table__fields__additional__placement="uid:header:Nats-Msg-Id")
    assert same.refused == [] and "Nats-Msg-Id" not in " ".join(same.options)
    other = router(table__fields__additional__placement="uid:header:Nats-Msg-Id")
    assert other.refused == ["uid as Nats-Msg-Id: that header is the event's id; name the column by --id"]


def test_the_key_of_debezium_1_is_taken_if_there_is_no_other() -> None:
    assert value_of(router(table__field__event__payload__id="order_id"), "--key") == "order_id"
    both = router(table__field__event__payload__id="order_id", table__field__event__key="customer")
    assert (value_of(both, "--key"), both.refused) == ("customer", [])


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("table.field.payload", "did it mean table.field.event.payload?"),
        ("route.topic.replacment", "did it mean route.topic.replacement?"),
        ("some.thing", "if Debezium passes over it too, remove it"),
    ],
)
def test_an_option_that_is_not_known_is_refused_with_what_it_may_mean(option: str, why: str) -> None:
    (refused,) = router(**{option: "x"}).refused
    assert refused.startswith(f"{option} is no option of the EventRouter") and why in refused


def test_a_column_that_is_placed_nowhere_is_refused() -> None:
    (refused,) = router(table__fields__additional__placement="kind").refused
    assert refused == "kind of table.fields.additional.placement has no place: write kind:header"


def test_a_connector_of_another_database_is_refused() -> None:
    mysql = "io.debezium.connector.mysql.MySqlConnector"
    found = translate({**ROUTER, **TABLE, "connector.class": mysql})
    assert (found.options, found.refused) == ([], [f"connector.class {mysql}: its table is not in PostgreSQL"])


def test_what_else_changes_messages_is_refused_or_said() -> None:
    (refused,) = translate({**ROUTER, **TABLE, "column.exclude.list": "public.outbox.secret"}).refused
    assert refused.startswith("column.exclude.list: ")
    converters = {
        "org.apache.kafka.connect.json.JsonConverter": "wraps each payload in its schema",
        "io.confluent.connect.avro.AvroConverter": "AvroConverter encodes each payload",
        "io.debezium.converters.BinaryDataConverter": None,
        "org.apache.kafka.connect.storage.StringConverter": None,
    }
    for kind, said in converters.items():
        notes = [one for one in translate({**ROUTER, **TABLE, "value.converter": kind}).notes if "value.conv" in one]
        assert len(notes) == (said is not None) and (said or "") in " ".join(notes)
    bare = {"value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": "false"}
    assert not [one for one in translate({**ROUTER, **TABLE, **bare}).notes if "value.conv" in one]


SERVER = r"""
# Debezium Server: Java's properties, of which Quarkus takes $$ for one $
debezium.source.connector.class=io.debezium.connector.postgresql.PostgresConnector
debezium.source.table.include.list=public\\.outbox
debezium.transforms=outbox
debezium.transforms.outbox.type=io.debezium.transforms.outbox.EventRouter
debezium.transforms.outbox.route.topic.replacement=$${routedByValue}
"""
STRIMZI = r"""
apiVersion: kafka.strimzi.io/v1
kind: KafkaConnector
metadata:
  name: outbox
spec:
  class: io.debezium.connector.postgresql.PostgresConnector
  config:
    table.include.list: "public\\.outbox"  # a comment
    transforms: 'outbox'
    "transforms.outbox.type": io.debezium.transforms.outbox.EventRouter
    transforms.outbox.route.topic.replacement : ${routedByValue}
"""


@pytest.mark.parametrize("text", [SERVER, STRIMZI], ids=["properties", "yaml"])
def test_other_files_than_json_say_the_same(text: str) -> None:
    topic = {"transforms.outbox.route.topic.replacement": "${routedByValue}"}
    as_json = json.dumps({"name": "outbox", "config": {**ROUTER, "table.include.list": r"public\.outbox", **topic}})
    assert translate(options_of(text)) == translate(options_of(as_json))
    assert value_of(translate(options_of(text)), "--topic") == "{aggregatetype}"


@pytest.mark.parametrize(
    "text",
    [
        'curl -X POST http://connect:8083/connectors -d \'{\n  "name": "x",\n  "config": {"transforms": "outbox"}\n}\'',
        "CREATE SOURCE CONNECTOR x WITH (\n 'transforms' = 'outbox'\n);",
        '{"config": {"a": "b" "c": "d"}}',
    ],
    ids=["script", "ksqldb", "broken"],
)
def test_a_file_of_another_kind_is_no_connector(tmp_path: Path, text: str) -> None:
    path = tmp_path / "connector"
    path.write_text(text, "utf-8")
    result = relay(None, "adopt", "read-connector", str(path))
    assert result.exit_code == 2 and "is no configuration of a connector" in result.stderr
