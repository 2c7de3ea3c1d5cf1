"""The rights of the suite's relays: the relay role, and the NATS permissions of docs/operations/security.md.

Tests act as administrators; what a relay does in their name, it does with these rights. A test that makes a
server refuse something on purpose has the mark ``denials``; in all others a refusal in a server's log is a fault.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

LOGIN = "suite_relay"
NATS_USER = {"nats__user": "relay", "nats__password": "secret-word"}
# To learn which stream takes a subject.
LOOK_UP = ("$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.*")
# The subjects of the suite's events; a test that publishes on another one adds it here.
SUBJECTS = (
    "orders.>",
    "other.>",
    "late.>",
    "nowhere.>",
    "full.>",
    "sealed.>",
    "silent.>",
    "a.>",
    "bench.>",
    "dead.outbox",
    "invoices.>",
    "outbox.watermark",
    "$KV.READ_MODELS.orders",
    "p.>",
    "s.>",
)

_PAGE = Path(__file__).parents[2] / "docs" / "operations" / "security.md"
_REFUSED = re.compile(r"permission denied|(permissions|publish|subscription) violation", re.IGNORECASE)


def documented_permissions(*subjects: str) -> str:
    """Return the permissions that the page says the relay needs, for the subjects of one's own events."""
    found = re.search(r"^\s*permissions: (\{.*?^\s*\})$", _PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None
    assert '"orders.>"' in found[1]
    return found[1].replace('"orders.>"', "\n".join(f'"{subject}"' for subject in subjects))


def documented_runner_permissions() -> str:
    """Return the permissions that the page says a runner of projections needs, for the stream ORDERS."""
    section = _PAGE.read_text("utf-8").partition("\n## Projections\n")[2]
    found = re.search(r"^permissions: ({.*?^})$", section, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def nats_config(*subjects: str) -> str:
    """Return the configuration of a server on which the relay may do what the page lists, and tests everything."""
    user, password = NATS_USER.values()
    return f"""
        accounts {{ SUITE {{ jetstream: enabled, users: [
            {{ user: admin, password: admin }}
            {{ user: {user}, password: {password}, permissions: {documented_permissions(*subjects)} }}
        ] }} }}
        no_auth_user: admin
    """


def restricted(*publish: str) -> str:
    """Return the configuration of a server on which the relay may publish on these subjects only."""
    user, password = NATS_USER.values()
    allowed = ", ".join(f'"{subject}"' for subject in publish)
    return f"""
        accounts {{ SUITE {{ jetstream: enabled, users: [
            {{ user: admin, password: admin }}
            {{ user: {user}, password: {password},
               permissions: {{ publish: [{allowed}], subscribe: ["_INBOX_relay.>"] }} }}
        ] }} }}
    """


def let_relay_in(dsn: str) -> None:
    """Make the login of the suite's relays, in the relay role and no other."""
    password = urlsplit(dsn).password
    with psycopg.connect(dsn, autocommit=True) as conn:
        if conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (LOGIN,)).fetchone():
            return
        if not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = 'outbox_relay'").fetchone():
            conn.execute("CREATE ROLE outbox_relay NOLOGIN")
        make = "CREATE ROLE {} LOGIN IN ROLE outbox_relay PASSWORD {}"
        conn.execute(sql.SQL(make).format(sql.Identifier(LOGIN), sql.Literal(password)))


def as_relay(dsn: str) -> str:
    """Return the address under which a relay logs in if a test is the administrator."""
    parts = urlsplit(dsn)
    if parts.username != "postgres":
        return dsn
    secret = "" if parts.password is None else f":{quote(parts.password)}"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{LOGIN}{secret}@{host}"))


@contextmanager
def nothing_denied(log: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail if a server refuses a right meanwhile, unless the test is there to make it do so."""
    before = log.stat().st_size if log.exists() else 0

    def added() -> bytes:
        with log.open("rb") as file:
            file.seek(before)
            return file.read()

    with nothing_denied_in(added, request):
        yield


@contextmanager
def nothing_denied_in(added: Callable[[], bytes], request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail if what the server said meanwhile holds a refusal; `added` gives it, and is asked at the end."""
    yield
    if request.node.get_closest_marker("denials") is None:
        refused = [line for line in added().decode("utf-8", "replace").splitlines() if _REFUSED.search(line)]
        assert not refused, refused[:5]
