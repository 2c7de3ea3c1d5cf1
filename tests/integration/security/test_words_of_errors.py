"""What is told of an error of PostgreSQL holds no value of a row, and says enough to find the cause."""

import psycopg
import pytest

from relay.postgres.server_error import is_of_called_code, words

SECRET = "GB33-4111"
FUNCTIONS = f"""
CREATE TABLE notes (n integer CHECK (n > 0), t text);
CREATE FUNCTION quotes() RETURNS void LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'cannot take {SECRET}' USING ERRCODE = '53100'; END $$;
CREATE FUNCTION casts(t text) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RETURN t::integer; END $$;
CREATE FUNCTION looks_up(t text) RETURNS oid LANGUAGE plpgsql AS $$ BEGIN RETURN t::regclass; END $$;
CREATE FUNCTION carries_out(t text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE t; END $$;
CREATE FUNCTION checks() RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO notes VALUES (-1, '{SECRET}'); END $$;
"""
# Each statement, what is told of it, and what is not.
FORGED = f"\nPL/x function {SECRET}() line 1"
CASES = {
    "raised": ("SELECT quotes()", "disk full in PL/pgSQL function quotes() line 2", True),
    "cast in a function": (
        f"SELECT casts('{SECRET}')",
        "invalid text representation in PL/pgSQL function casts(text) line 1",
        True,
    ),
    "cast without one": (f"SELECT '{SECRET}'::text::integer", "invalid text representation: ", False),
    "out of range": (f"SELECT {'9' * 30}::text::bigint", "numeric value out of range", False),
    "a name made of a value": (f"SELECT looks_up('{SECRET}')", "PL/pgSQL function looks_up(text) line 1", True),
    "a statement made of a value": (
        f"SELECT carries_out('SELEKT {SECRET}' || E'{FORGED}')",
        "syntax error in PL/pgSQL function carries_out(text) line 1",
        True,
    ),
    "a constraint": (
        "SELECT checks()",
        'violates check constraint "notes_n_check" in PL/pgSQL function checks()',
        True,
    ),
    "a division": ("SELECT 1 / (n - n) FROM (SELECT 4111 AS n OFFSET 0) d", "division by zero (SQLSTATE 22012)", False),
    "ours": ("SELECT * FROM missing", 'relation "missing" does not exist (SQLSTATE 42P01)', False),
}


@pytest.mark.parametrize(("statement", "told", "called"), CASES.values(), ids=CASES.keys())
def test_the_words_of_an_error(empty_database: str, statement: str, told: str, called: bool) -> None:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute(FUNCTIONS.encode())
        with pytest.raises(psycopg.Error) as raised:
            conn.execute(statement.encode())
    found = words(raised.value)
    assert told in found
    assert SECRET not in found
    assert "9999" not in found
    assert is_of_called_code(raised.value) is called


def test_a_session_that_ends_and_a_statement_that_takes_too_long_are_no_fault_of_what_is_called(
    empty_database: str,
) -> None:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("CREATE FUNCTION ends() RETURNS void LANGUAGE plpgsql AS"
                     " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END $$")  # fmt: skip
        conn.execute("CREATE FUNCTION sleeps() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(9); END $$")
        conn.execute("SET statement_timeout = '50ms'")
        for statement in ("SELECT sleeps()", "SELECT ends()"):
            with pytest.raises(psycopg.OperationalError) as raised:
                conn.execute(statement.encode())
            assert not is_of_called_code(raised.value)
