"""A file of TOML says all its faults, each with its place."""

from pathlib import Path

import pytest

from relay.errors import ConfigError
from relay.projection.rules.grouping import Mode
from relay.projection.rules.refreshing import Refresh
from relay.projection.toml_file import read_file, read_paths

GOOD = """
[projection]
name = "order_list"
stream = "ORDERS"
subjects = "orders.>"
tables = "order_list.sql"
[[on]]
topic = "orders.placed"
version = 2
mode = "fold"
sql = "INSERT INTO orders SELECT seq FROM event;"
[[on]]
topic = "orders.paid"
sql = "WITH a AS (SELECT 1) INSERT INTO orders SELECT seq FROM event"
[[refresh]]
view = "daily"
every = "5m"
[[refresh]]
view = "monthly"
every = "1d"
always = true
"""


def write(folder: Path, text: str) -> Path:
    (folder / "order_list.sql").write_text("CREATE TABLE orders (seq bigint)", "utf-8")
    (folder / "order_list.toml").write_text(text, "utf-8")
    return folder / "order_list.toml"


def test_a_file_is_read(tmp_path: Path) -> None:
    found = read_file(write(tmp_path, GOOD))
    assert (found.name, found.subjects, found.version, found.on_refused) == ("order_list", ("orders.>",), 1, "park")
    assert [(one.topic, one.version, one.mode) for one in found.handlers] == [
        ("orders.placed", 2, Mode.FOLD),
        ("orders.paid", None, Mode.EACH),
    ]
    first, second = (one.sql for one in found.handlers)
    assert first is not None and first.startswith(b"WITH event AS (") and first.endswith(b"SELECT seq FROM event")
    assert second is not None and second.count(b"WITH") == 1 and b"a AS (SELECT 1)" in second
    assert found.refreshes == (Refresh("daily", 300.0), Refresh("monthly", 86_400.0, always=True))
    assert read_paths([tmp_path]) == [found]


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ('name = "order_list"', 'name = "Order List"', "plain lower-case name"),
        ('name = "order_list"', 'name = "public"', "plain lower-case name"),
        ('stream = "ORDERS"', "", "projection.stream"),
        ('stream = "ORDERS"', 'strem = "ORDERS"', "projection.strem"),
        ('"orders.>"', '"orders..x"', "subject"),
        ('mode = "fold"', 'mode = "all"', "on.0.mode"),
        ('sql = "INSERT INTO orders SELECT seq FROM event;"', "", "on: orders.placed: needs sql, and no lua"),
        ("version = 2", "version = 2\nlua = 'return'", "on: orders.placed: needs sql, and no lua"),
        ("version = 2", 'version = "2"', "on.0.version"),
        ("order_list.sql", "other.sql", "cannot be read"),
        ("[projection]", "[projection", "is not TOML"),
        ('every = "5m"', 'every = "5 minutes"', "refresh.0.every: Value error, must be a whole number with a unit"),
        ('every = "5m"', "every = 300", "refresh.0.every"),
        ('view = "daily"', 'view = "other.daily"', "refresh: view 'other.daily': must be a plain lower-case name"),
        ('view = "monthly"', 'view = "daily"', "refresh: view daily is named twice"),
    ],
)
def test_a_fault_is_said_with_its_place(tmp_path: Path, before: str, after: str, fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_paths([write(tmp_path, GOOD.replace(before, after, 1))])
    assert fault in str(raised.value)


def test_a_folder_without_projections_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no \*\.toml"):
        read_paths([tmp_path])


REDIS = """
[projection]
name = "stats"
store = "redis"
stream = "TELEMETRY"
subjects = "telemetry.>"
[[on]]
topic = "telemetry.ingested"
lua = "write('SET', e.key, 1)"
"""


def test_a_model_in_redis_has_lua_and_no_tables(tmp_path: Path) -> None:
    found = read_file(write(tmp_path, REDIS))
    assert (found.store, found.tables, found.handlers[0].sql) == ("redis", "", None)
    for before, after, fault in [
        ('store = "redis"', 'store = "redis"\ntables = "order_list.sql"', "Redis has none"),
        ("lua =", "sql =", "needs lua"),
        ("lua =", "sql = 'SELECT 1'\nlua =", "needs lua, and no sql"),
        ("\"write('SET', e.key, 1)\"", "' '", "needs lua"),
        ('store = "redis"', 'tables = "order_list.sql"', "needs sql"),
        ('store = "redis"', "", "tables: Field required"),
    ]:
        with pytest.raises(ConfigError) as raised:
            read_file(write(tmp_path, REDIS.replace(before, after, 1)))
        assert fault in str(raised.value)
