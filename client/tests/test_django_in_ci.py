"""The test database of Django, made with its outbox before the first run: as the README says it for CI."""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from samples import README_TEXT

SETTINGS = """
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "outbox_client.django", "shop"]
SECRET_KEY = "x"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", **{parts!r}}}}}
"""
TESTS = """
from django.test import TestCase
from outbox_client.django import publish
from outbox_client.django.models import OutboxEvent

class Orders(TestCase):
    def test_one_is_placed(self):
        publish("orders.placed", {"order": 1}, key=1)
        self.assertEqual(OutboxEvent.objects.get().topic, "orders.placed")
"""


@pytest.fixture
def shop(postgres_dsn: str) -> Iterator[str]:
    """The name of a database that is not there, nor its test database; the latter is dropped afterwards."""
    name = f"shop_{uuid.uuid4().hex[:8]}"
    yield name
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS test_{name} WITH (FORCE)".encode())


def test_the_first_run_in_ci_is_green(shop: str, postgres_dsn: str, tmp_path: Path) -> None:
    (said,) = re.findall(r"```sh\n(createdb.*?)```", README_TEXT, re.DOTALL)
    lines = said.replace("test_shop", f"test_{shop}").splitlines()
    assert [line.split()[0] for line in lines] == [
        "createdb",
        "RELAY_POSTGRES__DSN=postgresql:///test_" + shop,
        "python",
    ]
    parts = conninfo_to_dict(postgres_dsn)
    names = {"USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    database = {"NAME": shop} | {name: str(parts.get(key) or "") for name, key in names.items()}
    (tmp_path / "ci.py").write_text(SETTINGS.format(parts=database))
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "tests.py").write_text(TESTS)
    environ = os.environ | {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "ci"}
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE test_{shop}".encode())  # createdb does this, and need not be installed here
    environ["RELAY_POSTGRES__DSN"] = make_conninfo(postgres_dsn, dbname=f"test_{shop}")
    migrate = [sys.executable, "-m", "relay", *lines[1].split()[2:]]
    test = [sys.executable, "-m", "django", *lines[2].split()[2:]]
    for command in (migrate, test):
        run = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
    assert "Ran 1 test" in run.stderr
