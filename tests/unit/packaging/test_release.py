"""What a release is made of says one thing everywhere: version, changes, locked dependencies."""

import itertools
import re
import subprocess
import sysconfig
import tomllib
from importlib.metadata import metadata, requires, version
from pathlib import Path

import outbox_client
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from relay import __version__

ROOT = Path(__file__).parents[3]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+) \\$", re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / "requirements" / f"{name}.txt").read_text("utf-8")))


def test_the_installed_version_is_the_one_of_the_package() -> None:
    assert version("outbox-relay") == __version__


def test_both_packages_say_what_they_are_and_have_one_version() -> None:
    for directory in (ROOT, ROOT / "client"):
        project = tomllib.loads((directory / "pyproject.toml").read_text("utf-8"))["project"]
        assert project["description"]
        assert project["keywords"]
        assert "Typing :: Typed" in project["classifiers"]
    assert outbox_client.__version__ == __version__


def test_the_newest_section_of_the_changes_is_of_this_version() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert re.fullmatch(rf"{re.escape(__version__)} - (unreleased|\d{{4}}-\d\d-\d\d)", titles[0])


def test_the_license_goes_with_the_package() -> None:
    found = metadata("outbox-relay")
    assert found["License-Expression"] == "MIT"
    assert found["License-File"] == "LICENSE"


@pytest.mark.parametrize("name", ["runtime", "build"])
def test_what_runs_and_what_builds_is_locked_as_tested(name: str) -> None:
    assert locked(name)
    assert locked(name).items() <= locked("constraints").items()


def test_what_runs_is_locked_and_what_only_tests_use_is_not_among_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    def names(lines: list[str]) -> set[str]:
        return {canonicalize_name(Requirement(line).name) for line in lines}

    extras = {extra: names(lines) for extra, lines in project["optional-dependencies"].items()}
    # The image runs the console, and projections in Redis.
    runs = names(project["dependencies"]) | extras["console"] | extras["redis"]
    assert len(runs) > 8
    assert runs <= locked("runtime").keys()
    assert not set().union(*extras.values()) - runs & locked("runtime").keys()


@pytest.mark.parametrize("name", ["runtime", "build", "constraints"])
def test_a_lock_is_whole_on_every_python_and_machine_that_the_project_takes(name: str) -> None:
    """pip refuses a lock that lacks a package, and a lock is made on one Python only."""
    machines = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]
    environments = [
        {
            "python_version": python[:4],
            "python_full_version": python,
            "sys_platform": system,
            "platform_machine": machine,
        }
        for python, (system, machine) in itertools.product(("3.11.0", "3.12.0", "3.13.0", "3.14.0"), machines)
    ]
    missing = set()
    for package in locked(name):
        for needed in map(Requirement, requires(package) or []):
            wanted = needed.marker is None or any(needed.marker.evaluate(one | {"extra": ""}) for one in environments)
            if wanted and canonicalize_name(needed.name) not in locked(name):
                missing.add(f"{package}: {needed}")
    assert not missing


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_a_lock_has_a_hash_for_everything_and_no_address(path: Path) -> None:
    text = path.read_text("utf-8")
    entries = re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry) and "==" in text
    assert "://" not in text


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
