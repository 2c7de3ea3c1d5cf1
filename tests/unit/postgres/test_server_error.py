"""What is told of a statement that PostgreSQL did not carry out."""

import psycopg
import pytest

from relay.postgres.server_error import answer

FULL = psycopg.errors.DiskFull("no space left")
ANSWERS = "PostgreSQL answers, and cannot do what the relay asks of it: no space left"


@pytest.mark.parametrize(
    ("error", "stood", "told"),
    [
        (FULL, True, ANSWERS),
        (FULL, False, ""),
        (psycopg.errors.AdminShutdown("terminating"), False, ""),
        (psycopg.OperationalError("could not connect"), True, ""),
        (
            psycopg.OperationalError('password authentication failed for user "relay"'),
            False,
            'PostgreSQL does not let the relay in: password authentication failed for user "relay"',
        ),
        (TimeoutError(), True, ""),
    ],
)
def test_only_an_answer_of_the_server_is_told_as_one(error: Exception, stood: bool, told: str) -> None:
    assert answer(error, stood=stood, is_refusal=False) == told


def test_a_refusal_names_the_doctor_whatever_became_of_the_session() -> None:
    refused = answer(psycopg.errors.InsufficientPrivilege("no right"), stood=False, is_refusal=True)
    assert refused.startswith("PostgreSQL answers, and refuses") and refused.endswith("no right; see `relay doctor`")
