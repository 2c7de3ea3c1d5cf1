"""What every connection to PostgreSQL asks for, whatever the address says."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from relay.postgres.session import conninfo


@pytest.mark.parametrize(
    ("dsn", "wanted"),
    [
        ("postgresql://a,b/shop", "primary"),
        ("host=a,b dbname=shop", "primary"),
        ("postgresql://a,b/shop?target_session_attrs=read-write", "read-write"),
    ],
)
def test_of_several_hosts_every_connection_goes_to_the_primary(dsn: str, wanted: str) -> None:
    """A standby would answer reads, and close gaps that the primary may still fill."""
    made = conninfo_to_dict(conninfo(dsn, "outbox-relay fetch", 5))
    assert (made["host"], made["target_session_attrs"]) == ("a,b", wanted)


@pytest.mark.parametrize(("asked_s", "given_s"), [(0.5, "2"), (5.0, "5")])
def test_connecting_has_a_limit_for_each_host(asked_s: float, given_s: str) -> None:
    """libpq takes whole seconds, 2 at least."""
    assert str(conninfo_to_dict(conninfo("host=a", "x", asked_s))["connect_timeout"]) == given_s
