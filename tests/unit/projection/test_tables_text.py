"""Tables are made in the runner's own transaction: what would end it is found before anything is sent."""

import pytest

from relay.errors import ConfigError
from relay.projection.definition import Definition, Handler
from relay.projection.rules.grouping import Mode
from relay.projection.sql_text import ends_transaction


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("CREATE TABLE m (id text); COMMIT", "COMMIT"),
        ("BEGIN; CREATE TABLE m (id text)", "BEGIN"),
        ("CREATE TABLE m (id text);\n-- done\n  commit /* now */ work;", "COMMIT"),
        ("SELECT 1; start transaction", "START TRANSACTION"),
        ("SELECT 'a;b'; rollback", "ROLLBACK"),
        ("SELECT E'it\\'s; '; END", "END"),
        ("SELECT $a$ ; commit; $a$; abort", "ABORT"),
        ("CREATE TABLE m (id text DEFAULT 'x; COMMIT'); SAVEPOINT a; ROLLBACK TO a", None),
        ('CREATE TABLE "a; COMMIT" (id text); -- ; COMMIT', None),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$", None),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; CREATE TABLE m (id text)", None),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; COMMIT", "COMMIT"),
        ("CREATE TABLE committed (id text); CREATE TABLE ending (id text)", None),
        ("", None),
    ],
)
def test_a_statement_that_ends_the_transaction_is_found_and_a_text_that_says_so_is_not(
    sql: str, word: str | None
) -> None:
    assert ends_transaction(sql) == word


def test_tables_that_end_the_transaction_are_a_fault() -> None:
    handler = Handler("orders.placed", None, Mode.EACH, sql=b"SELECT 1")
    with pytest.raises(ConfigError, match="tables: hold COMMIT: they are made in one transaction"):
        Definition("model", "ORDERS", ("orders.>",), 1, "CREATE TABLE m (id text); COMMIT", (handler,))
