"""The SQL files with the names of one outbox put in."""

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import relay
from relay.daemon.serve import QUERIES as DAEMON_QUERIES
from relay.errors import ConfigError
from relay.postgres import tables
from relay.postgres.tables import Tables, sql_directory

FILES = sorted(sql_directory().rglob("*.sql"))
ROOMS = sql_directory() / "queries"
QUERIES = sorted(
    str(path.relative_to(ROOMS).with_suffix(""))
    for path in ROOMS.rglob("*.sql")
    if path.parent.name != "projection"  # read by the projections' own store
)
OURS = re.compile(
    r"\boutbox_(events|shards|shard|members|streams|migrations|origin|audit|ring|identity|producer|relay|reader)\b"
)
COMPANIONS = ("events", "shards", "shard", "members", "streams", "migrations", "origin", "audit", "ring")
ROLES = ("producer", "relay", "reader")


def without_comments(text: str) -> str:
    return re.sub(r"--[^\n]*", "", text)


def short(path: Path) -> str:
    return str(path.relative_to(sql_directory()))


def test_by_default_a_query_is_sent_as_it_stands_with_its_shared_parts() -> None:
    tables = Tables()
    for name in QUERIES:
        stored = (sql_directory() / "queries" / f"{name}.sql").read_text("utf-8")
        pieces = re.split(r"^-- include: .*\n", stored, flags=re.MULTILINE)
        sent = tables.query(name).decode()
        assert re.fullmatch("(.+\n)+".join(map(re.escape, pieces)), sent), name
        assert "include:" not in sent


@pytest.mark.parametrize("name", QUERIES)
def test_each_query_is_one_statement_that_says_why(name: str) -> None:
    text = Tables().query(name).decode()
    assert text.startswith("-- ")
    assert ";" not in without_comments(text)


@pytest.mark.parametrize("path", FILES, ids=short)
@pytest.mark.parametrize("table", ["billing", "app.billing", "app.billing_events"])
def test_no_file_keeps_a_default_name(path: Path, table: str) -> None:
    text = path.read_text("utf-8")
    names = re.findall(r"\b(?:app\.)?billing(?:_\w+)?\b", Tables(table).qualify(text))
    assert not OURS.search(Tables(table).qualify(text))
    assert names == [Tables(table).name(found) for found in OURS.findall(text)]


@pytest.mark.parametrize(
    ("table", "events", "shards", "producer"),
    [
        ("outbox_events", "outbox_events", "outbox_shards", "outbox_producer"),
        ("app.outbox_events", "app.outbox_events", "app.outbox_shards", "outbox_producer"),
        ("app.billing", "app.billing", "app.billing_shards", "billing_producer"),
        ("billing_events", "billing_events", "billing_shards", "billing_producer"),
        ("outbox_shards", "outbox_shards", "outbox_shards_shards", "outbox_shards_producer"),
    ],
)
def test_companions_are_named_after_the_table_and_roles_have_no_schema(
    table: str, events: str, shards: str, producer: str
) -> None:
    tables = Tables(table)
    assert (tables.name("events"), tables.name("shards"), tables.name("producer")) == (events, shards, producer)
    assert tables.qualify("outbox_events, outbox_shards, outbox_producer") == f"{events}, {shards}, {producer}"


def test_names_that_only_begin_alike_are_left_alone() -> None:
    text = "outbox_events_pkey my_outbox_events outbox_eventses outbox outbox_bell OUTBOX_EVENTS"
    assert Tables("app.billing").qualify(text) == text


_PLAIN = st.from_regex(r"[a-z_][a-z0-9_]{0,30}", fullmatch=True)


@given(st.none() | _PLAIN, _PLAIN)
def test_every_plain_name_is_taken_and_stands_in_its_schema(schema: str | None, name: str) -> None:
    tables = Tables(name if schema is None else f"{schema}.{name}")
    assert tables.schema == schema
    prefix = "" if schema is None else f"{schema}."
    for companion in COMPANIONS:
        assert tables.name(companion).startswith(prefix)
    names = [tables.name(each) for each in (*COMPANIONS, *ROLES)]
    assert len(set(names)) == len(names)
    # PostgreSQL cuts an identifier after 63 bytes.
    assert all(len(part) <= 63 for each in names for part in each.split("."))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "Outbox",
        "1outbox",
        "a.b.c",
        ".events",
        "app.",
        "a b",
        "a-b",
        "a;DROP TABLE b",
        'a"b',
        "a'b",
        "größe",
        "events\n",
        "events\x00",
        "a" * 49,
        "app." + "a" * 49,
    ],
)
def test_an_odd_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="plain lower-case"):
        Tables(name)


@given(st.text(alphabet="aA_0. -;\"'\n\x00é$", max_size=10))
def test_no_name_that_is_taken_could_need_quotes(name: str) -> None:
    try:
        Tables(name)
    except ConfigError:
        return
    assert not set(name) - set("a_0.")
    assert all(part and not part[0].isdigit() for part in name.split("."))


def test_a_name_that_is_too_long_for_a_channel_is_refused() -> None:
    # pg_notify refuses a channel of 64 bytes, and with it the insert that rings.
    assert Tables("a" * 31 + "." + "b" * 31).events
    with pytest.raises(ConfigError):
        Tables("a" * 32 + "." + "b" * 31)


@pytest.mark.parametrize(
    "name", [f"delivery/{one}" for one in ("fetch", "fetch_bounded", "fetch_among", "reread", "due")]
)
def test_a_payload_is_read_by_what_takes_its_type_alone(name: str) -> None:
    readings = {
        "jsonb": b"convert_to(textin(jsonb_out(e.payload)), 'UTF8')",
        "json": b"convert_to(textin(json_out(e.payload)), 'UTF8')",
        "text": b"convert_to(textcat(e.payload, ''), 'UTF8')",
        "bytea": b"byteacat(e.payload, '')",
        "character varying": b"convert_to(e.payload::text, 'UTF8')",
    }
    for payload_type, reading in readings.items():
        assert b"THEN " + reading + b" END" in Tables(payload_type=payload_type).query(name)


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_turns_bytes_into_text(name: str) -> None:
    assert b"payload::text" not in Tables(payload_type="bytea").query(name)


def test_each_outbox_has_queries_of_its_own() -> None:
    one, two = Tables("one"), Tables("two")
    assert one.query("delivery/start") != two.query("delivery/start")
    assert one == Tables("one")
    assert one.query("delivery/start") == Tables("one").query("delivery/start")


@pytest.mark.parametrize("where", ["daemon", "delivery", "integrity", "maintenance"])
def test_whatever_a_relay_asks_is_read_at_its_start(where: str) -> None:
    texts = [path.read_text("utf-8") for path in (Path(relay.__file__).parent / where).rglob("*.py")]
    asked = [room for text in texts for room in re.findall(r"query\(\s*\"(\w+)/", text)]
    assert set(asked) <= set(DAEMON_QUERIES)


def test_what_is_read_ahead_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "sql"
    shutil.copytree(sql_directory(), copy)
    monkeypatch.setattr(tables, "sql_directory", lambda: copy)
    tables.read_ahead(["delivery"])
    shutil.rmtree(copy)
    assert b"outbox_events" in Tables().query("delivery/fetch")
    with pytest.raises(FileNotFoundError):
        Tables().query("integrity/places")
