"""The wheel alone, away from the checkout, is a whole relay."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from relay import __version__
from relay.console.pages.runbook import runbooks_directory
from relay.postgres.migrate import newest_version, script
from relay.postgres.tables import sql_directory
from tests.support.fix_relay import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel in it; its dependencies are this test's own."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    return target


def run(installed: Path, *args: str, **environ: str) -> str:
    """Run the installed relay as a stranger does, in its own directory; return what it prints."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    return subprocess.run(
        [sys.executable, str(installed / "bin" / "relay"), *args],
        check=True,
        cwd=installed,
        env=inherited | {"PYTHONPATH": str(installed)} | environ,
        capture_output=True,
        text=True,
    ).stdout


def test_it_holds_the_package_the_sql_and_the_license_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    sql = {f"relay/_sql/{path.relative_to(sql_directory())}" for path in sql_directory().rglob("*.sql")}
    assert sql == {name for name in names if name.startswith("relay/_sql/")}
    runbooks = {f"relay/_runbooks/{path.name}" for path in runbooks_directory().glob("*.md")}
    assert runbooks and runbooks == {name for name in names if name.startswith("relay/_runbooks/")}
    info = f"outbox_relay-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"relay", info}
    assert {f"{info}/licenses/LICENSE", "relay/py.typed"} <= set(names)


def test_it_makes_the_same_outbox_as_the_checkout(installed: Path, empty_database: str) -> None:
    assert run(installed, "version").strip() == __version__
    assert run(installed, "migrate", "--print") == script("outbox_events", "jsonb", bell=True)
    run(installed, "migrate", RELAY_POSTGRES__DSN=empty_database)
    assert f"schema version {newest_version()}" in run(installed, "status", RELAY_POSTGRES__DSN=empty_database)


def test_its_command_has_the_name_of_the_package_too(installed: Path) -> None:
    # `uvx outbox-relay` and `pipx run outbox-relay` look for that.
    assert (installed / "bin" / "outbox-relay").is_file()
