"""Through Django, with the producer's rights alone."""

import os
import subprocess
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path

import django
import psycopg
import pytest
from conftest import Stored
from django.conf import settings
from django.test import override_settings
from psycopg.conninfo import conninfo_to_dict
from relay.postgres.tables import sql_directory
from samples import GUIDE, run, sample
from tests.support.fix_relay import MakeRelay
from tests.support.fix_relay import Outbox as Seen
from tests.support.fix_stream import Streams

from outbox_client import Event, InvalidEvent, NotInTransaction
from outbox_client.commands import Earlier, KeyReused
from outbox_client.reading import State, Waited


def _database(dsn: str) -> dict[str, object]:
    parts = conninfo_to_dict(dsn)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    return {"ENGINE": "django.db.backends.postgresql"} | {name: parts.get(key, "") for name, key in names.items()}


@pytest.fixture(scope="session")
def _django() -> None:
    settings.configure(
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "outbox_client.django",
        ],
        DATABASES={name: _database("dbname=none") for name in ("default", "other")},
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        SECRET_KEY="for tests alone",
        USE_TZ=True,
        ALLOWED_HOSTS=["testserver"],
    )
    django.setup()


def _point(alias: str, dsn: str) -> None:
    from django.db import connections

    connections[alias].close()
    connections[alias].settings_dict.update(_database(dsn))


@pytest.fixture
def default(_django: None, producer: str) -> Iterator[None]:
    """The default database, as the producer."""
    from django.db import connections

    _point("default", producer)
    yield
    connections.close_all()


def test_an_event_goes_with_its_atomic_block(default: None, stored: Stored) -> None:
    from django.db import connection, transaction

    from outbox_client.django import publish

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders (id) VALUES (42)")
        given = publish("orders.placed", {"who": "Zoë"}, key=42, headers={"tenant": "a"})
        assert stored() == []
    assert stored() == [(given, "orders.placed", "42", {"who": "Zoë"}, {"tenant": "a"})]


def test_a_key_that_cannot_be_a_header_is_refused_unless_the_settings_say_that_it_is_none(
    default: None, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import transaction

    from outbox_client.django import configured, publish, publish_many, publishing

    with transaction.atomic():
        with pytest.raises(InvalidEvent, match="header Outbox-Key holds a line end"):
            publish("orders.placed", 1, key="k\n")
        with pytest.raises(InvalidEvent, match="header Outbox-Key holds a line end"):
            publish_many([Event("orders.placed", 1), Event("orders.placed", 2, key="k\n")])
        publish("orders.placed", 3, key="k")
    without = configured.read({"key_header": False})
    monkeypatch.setattr(publishing, "configured", lambda: without)
    with transaction.atomic():
        publish("orders.placed", 4, key="k\n")
    assert [(row[2], row[3]) for row in stored()] == [("k", 3), ("k\n", 4)]


def test_the_samples_of_the_readme_run(default: None, stored: Stored) -> None:
    class Order:
        """The application's."""

        pk = 42

        def save(self) -> None:
            """Write it."""

    settings_module = run(sample("INSTALLED_APPS"), {"INSTALLED_APPS": ["django.contrib.admin"]})
    assert settings_module["INSTALLED_APPS"][-1] in settings.INSTALLED_APPS
    run(sample("from django.db import transaction"), {"order": Order()})
    from django.db import transaction

    run(sample("transaction.atomic", GUIDE), {"order": Order(), "transaction": transaction})
    assert [row[1:4] for row in stored()] == [("orders.placed", "order-42", {"order": 42})] * 2


def test_a_test_that_is_rolled_back_reads_what_it_published(default: None, database: str, stored: Stored) -> None:
    from django.db import connection, transaction

    from outbox_client.django import publish
    from outbox_client.testing import recorded

    _point("default", database)  # reading takes more than the producer's role
    with transaction.atomic():
        publish("orders.placed", 1)
        with transaction.atomic():
            publish("orders.placed", 2, key=7)
        assert [(event.payload, event.key) for event in recorded(connection)] == [(1, None), (2, "7")]
        transaction.set_rollback(True)
    assert stored() == []


def test_the_test_of_the_readme_is_one_of_djangos(default: None, database: str, stored: Stored) -> None:
    from outbox_client.django import publish

    _point("default", database)
    names = {"place_order": lambda order: publish("orders.placed", {"order": order}), "__name__": "sample"}
    case = run(sample("from django.test import TestCase"), names)["Placing"]
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
    assert stored() == []


def test_an_inner_block_that_is_rolled_back_takes_only_its_own_events(default: None, stored: Stored) -> None:
    from django.db import transaction

    from outbox_client.django import publish

    with transaction.atomic():
        publish("orders.placed", 1)
        with transaction.atomic():
            publish("orders.placed", 2)
            transaction.set_rollback(True)
        publish("orders.placed", 3)
    with transaction.atomic():
        publish("orders.placed", 4)
        transaction.set_rollback(True)
    assert [row[3] for row in stored()] == [1, 3]


def test_outside_of_a_transaction_it_is_refused(default: None, stored: Stored) -> None:
    from django.db import transaction

    from outbox_client.django import publish, publish_many

    with pytest.raises(NotInTransaction):
        publish("orders.placed", 1)
    with pytest.raises(NotInTransaction):
        publish_many([Event("orders.placed", 1)])
    with transaction.atomic():
        with pytest.raises(InvalidEvent):
            publish("orders.*", 1)
        publish("orders.placed", 2)
    assert [row[3] for row in stored()] == [2]


@pytest.mark.usefixtures("commands")
def test_a_command_is_carried_out_once(default: None, stored: Stored) -> None:
    from django.db import transaction

    from outbox_client.django import once, publish, remember

    for _ in range(2):
        with transaction.atomic():
            earlier = once("pay-42", request={"amount": 5})
            if earlier is None:
                publish("orders.paid", {"order": 42})
                remember("pay-42", {"who": "Zoë"})
    assert (earlier, len(stored())) == (Earlier({"who": "Zoë"}), 1)
    with transaction.atomic(), pytest.raises(KeyReused):
        once("pay-42", request={"amount": 6})
    with transaction.atomic(), pytest.raises(LookupError, match="call once first"):
        remember("pay-43", 1)
    with pytest.raises(NotInTransaction, match="call once inside a transaction"):
        once("pay-44")


def test_ten_thousand_events_keep_their_order(default: None, stored: Stored) -> None:
    from django.db import transaction

    from outbox_client.django import publish_many

    events = [Event("orders.placed", i) for i in range(10_000)]
    with transaction.atomic():
        assert publish_many(events) == [event.id for event in events]
        assert publish_many([]) == []
    assert [(row[0], row[3]) for row in stored()] == [(event.id, event.payload) for event in events]


def test_a_write_is_read_from_its_read_model(default: None, empty_database: str, stored: Stored, producer: str) -> None:
    from django.db import transaction

    from outbox_client.django import publish, token, wait_applied

    with psycopg.connect(empty_database, autocommit=True) as models:
        models.execute((sql_directory() / "projection.sql").read_bytes())
        models.execute("INSERT INTO projection.generations VALUES ('list', 1, 1, '', 'list', 1, 'live')")
        models.execute("INSERT INTO projection.state (name, generation, partition, stream) VALUES ('list', 1, 0, 's')")
        _point("other", empty_database)
        with transaction.atomic():
            mark = token(publish("orders.placed", 1))
            with pytest.raises(LookupError):
                token(Event("a", 1).id)
        with pytest.raises(NotInTransaction):
            token(Event("a", 1).id)
        assert wait_applied("list", mark, timeout_s=0, using="other") == Waited(State.TIMED_OUT)
        models.execute("UPDATE projection.state SET complete_origin = %s, complete_seq = %s", mark.split("."))
        assert wait_applied("list", mark, using="other") == Waited(State.NOT_FOR_IT)


def test_events_reach_the_stream_once_and_in_order(
    default: None, outbox: Seen, streams: Streams, make_relay: MakeRelay
) -> None:
    from django.db import transaction

    from outbox_client.django import publish, publish_many

    streams.make("ORDERS", "orders.>")
    with transaction.atomic():
        publish("orders.placed", {"i": 0}, key="k")
        publish_many([Event("orders.placed", {"i": i}, key="k") for i in range(1, 31)])
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    relay.stop()
    assert [message.i for message in streams.read("ORDERS")] == list(range(31))


def test_an_event_goes_to_the_database_that_is_named(default: None, database: str, stored: Stored) -> None:
    from django.db import transaction

    from outbox_client.django import publish

    _point("other", database)
    with transaction.atomic(using="default"), transaction.atomic(using="other"):
        publish("orders.placed", "there", using="other")
        publish("orders.placed", "here")
        transaction.set_rollback(True, using="default")
    assert [row[3] for row in stored()] == ["there"]


def test_the_check_says_what_is_missing(default: None, empty_database: str, admin: psycopg.Connection) -> None:
    from outbox_client.django.checks import check_outbox

    assert check_outbox(databases=["default"]) == []
    assert check_outbox(databases=None) == []
    admin.execute("REVOKE INSERT (headers) ON outbox_events FROM outbox_producer")
    (warning,) = check_outbox(databases=["default"])
    assert (warning.id, "this login may not write headers" in warning.msg) == ("outbox_client.W001", True)
    assert "outbox_producer" in str(warning.hint)
    admin.execute("ALTER TABLE outbox_events ALTER payload TYPE json")
    assert any("the payload is json" in one.msg and "'json'" in str(one.hint) for one in check_outbox(["default"]))
    _point("default", empty_database)
    (warning,) = check_outbox(databases=["default"])
    assert "does not exist" in warning.msg


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tabel": "x"}, "OUTBOX_CLIENT['tabel'] is unknown: did you mean 'table'?"),
        (
            {"zzz": 1},
            (
                "OUTBOX_CLIENT['zzz'] is unknown: it takes table, payload, dumps, subject, allow_nats, max_bytes, "
                "key_header, databases"
            ),
        ),
        (["table"], "OUTBOX_CLIENT is a dict, not list"),
        ({"payload": "xml"}, "OUTBOX_CLIENT: payload 'xml': must be one of jsonb, json, text, bytea"),
        ({"table": "Outbox"}, "OUTBOX_CLIENT: table 'Outbox': must be a plain lower-case name, or schema.name"),
        ({"max_bytes": "1"}, "OUTBOX_CLIENT['max_bytes'] is of type int, not str"),
        ({"key_header": "no"}, "OUTBOX_CLIENT['key_header'] is of type bool, not str"),
        ({"dumps": "json.dumps"}, "OUTBOX_CLIENT['dumps'] is a function, such as json.dumps, and not its name"),
        ({"allow_nats": "Nats-TTL"}, "OUTBOX_CLIENT['allow_nats'] is a list of headers, not one text"),
        ({"databases": "default"}, "OUTBOX_CLIENT['databases'] is a list of aliases, not str"),
        ({"databases": ["default", "x"]}, "OUTBOX_CLIENT['databases']: DATABASES has no 'x'"),
    ],
)
def test_wrong_settings_are_one_line_of_the_system_check(tmp_path: Path, given: object, said: str) -> None:
    # A process of its own: the model is made of the settings once.
    (tmp_path / "wrong.py").write_text(
        "INSTALLED_APPS = ['django.contrib.contenttypes', 'django.contrib.auth', 'outbox_client.django']\n"
        "SECRET_KEY = 'x'\nUSE_TZ = True\nDEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'\n"
        f"OUTBOX_CLIENT = {given!r}\n"
    )
    environ = os.environ | {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "wrong"}
    command = [sys.executable, "-m", "django", "check"]
    checked = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert f"?: (outbox_client.E001) {said}\n" in checked.stderr
    assert "Traceback" not in checked.stderr
    program = "import django; django.setup(); from outbox_client.django import publish; publish('a', 1)"
    published = subprocess.run(
        [sys.executable, "-c", program], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert published.stderr.endswith(f"ImproperlyConfigured: {said}\n")


@pytest.mark.usefixtures("_django")
def test_all_wrong_settings_are_named_at_once() -> None:
    from django.core.exceptions import ImproperlyConfigured

    from outbox_client.django.checks import check_settings
    from outbox_client.django.configured import configured, read

    wrong = {"tabel": "x", "payload": "xml", "table": "Outbox", "subject": "", "max_bytes": "a", "dumps": "d"}
    configured()
    with override_settings(OUTBOX_CLIENT=wrong):
        found = check_settings()
    assert [one.id for one in found] == ["outbox_client.E001"] * len(wrong)
    assert all(f"'{name}'" in one.msg or f"{name} " in one.msg for name, one in zip(wrong, found, strict=True)), found
    with pytest.raises(ImproperlyConfigured) as raised:
        read(wrong)
    assert str(raised.value) == "; ".join(one.msg for one in found)


def test_the_databases_that_using_names_are_checked_too(
    default: None, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from outbox_client.django import checks, configured

    _point("other", empty_database)
    assert checks.check_outbox(databases=["default", "other"]) == []
    there = configured.read({"databases": ["other"]})
    monkeypatch.setattr(checks, "configured", lambda: there)
    assert checks.check_outbox(databases=["default"]) == []
    (warning,) = checks.check_outbox(databases=["default", "other"])
    assert "does not exist in database 'other'" in warning.msg


def test_the_migration_of_commands_goes_forward_and_back(
    default: None, database: str, admin: psycopg.Connection
) -> None:
    from django.db import connection
    from django.db.migrations.state import ProjectState

    _point("default", database)
    migration = run(sample("import migrations"), {})["Migration"]("0001_commands", "shop")
    for step, there in (("apply", True), ("unapply", False)):
        with connection.schema_editor() as editor:
            getattr(migration, step)(ProjectState(), editor)
        assert admin.execute("SELECT to_regclass('outbox_commands') IS NOT NULL").fetchone() == (there,)


def test_an_application_migrates_before_there_is_an_outbox(default: None, empty_database: str) -> None:
    from django.core.management import call_command

    _point("default", empty_database)
    call_command("migrate", verbosity=0, skip_checks=False)


def test_a_database_that_is_no_postgresql_is_told_and_asked_nothing(
    default: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import connections

    from outbox_client.django.checks import check_outbox

    monkeypatch.setattr(connections["default"], "vendor", "sqlite")
    (warning,) = check_outbox(databases=["default"])
    assert "is no PostgreSQL" in warning.msg


def test_the_model_reads_and_never_writes(default: None, database: str) -> None:
    from django.core.management import call_command
    from django.db import transaction

    from outbox_client.django import publish
    from outbox_client.django.models import OutboxEvent

    _point("default", database)
    with transaction.atomic():
        given = publish("orders.placed", {"i": 1}, key="k")
    event = OutboxEvent.objects.get(id=given)
    assert (event.topic, event.payload, event.state, str(event)) == (
        "orders.placed",
        {"i": 1},
        "pending",
        f"{event.seq} orders.placed",
    )
    for change in (event.save, event.delete):
        with pytest.raises(TypeError):
            change()
    call_command("makemigrations", "outbox_client", check=True, dry_run=True, verbosity=0)


def test_every_column_of_the_model_is_in_the_table(default: None, admin: psycopg.Connection) -> None:
    from outbox_client.django.models import OutboxEvent

    rows = admin.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'outbox_events'::regclass").fetchall()
    assert {field.column for field in OutboxEvent._meta.get_fields()} <= {name for (name,) in rows}


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ("pending", ""),
        ("retry", "retry_at = now()"),
        ("dead", "dead_at = now()"),
        ("discarded", "dead_at = now(), discarded_at = now()"),
        ("delivered", "delivered_at = now()"),
    ],
)
def test_the_admin_lists_by_state_and_changes_nothing(
    default: None, database: str, admin: psycopg.Connection, state: str, change: str
) -> None:
    from django.contrib import admin as site
    from django.db import transaction
    from django.test import RequestFactory

    from outbox_client.django import publish
    from outbox_client.django.admin import OutboxEventAdmin, StateFilter
    from outbox_client.django.models import OutboxEvent

    _point("default", database)
    with transaction.atomic():
        publish("orders.placed", 1)
    if change:
        admin.execute(f"UPDATE outbox_events SET {change}".encode())
    request = RequestFactory().get("/")
    page = OutboxEventAdmin(OutboxEvent, site.site)
    assert not page.has_add_permission(request)
    assert not page.has_change_permission(request)
    assert not page.has_delete_permission(request)
    assert OutboxEvent.objects.get().state == state
    for name, _ in StateFilter(request, {}, OutboxEvent, page).lookups(request, page):
        chosen = StateFilter(request, {"state": [name]}, OutboxEvent, page)
        assert chosen.queryset(request, OutboxEvent.objects.all()).count() == (name == state), name
