"""The workflow of a release calls what there is, names no registry and no secret, and may write in one place alone."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay import __version__

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
HOST = re.compile(r"://|\b[a-z0-9-]+\.(?:io|com|org|net|dev|sh)\b")


def workflow(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in workflow(path)["jobs"].values():
        yield from job["steps"]


def test_there_is_one_for_a_release() -> None:
    assert [path.name for path in WORKFLOWS] == ["release.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_command_of_it_exists(path: Path) -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text("utf-8")))
    called = [step["run"] for step in steps(path) if "run" in step]
    made = [name for text in called for name in re.findall(r"\bmake ([a-z-]+)", text)]
    assert {"release", "release-image"} <= set(made) <= targets
    for script in {name for text in called for name in re.findall(r"(?:^|\s)(\.ci/\S+)", text)}:
        assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_it_names_no_registry_and_no_secret(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not HOST.search(text)
    assert "secrets" not in text
    assert not re.search(r"docker (login|push)|twine upload|helm push|cosign", text)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_scripts_hold_no_expressions(path: Path) -> None:
    text = path.read_text("utf-8")
    uses = re.findall(r"^\s*- uses: (.+)$", text, re.MULTILINE)
    assert uses
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in uses)
    # The name of a tag is text from outside: a shell may see it in a variable alone.
    assert not [step for step in steps(path) if "${{" in step.get("run", "")]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_may_write_runs_nothing_of_the_checkout(path: Path) -> None:
    found = workflow(path)
    assert found["permissions"] == {"contents": "read"}
    for job in found["jobs"].values():
        assert job["timeout-minutes"] <= 120
        assert re.fullmatch(r"ubuntu-\d\d\.\d\d", job["runs-on"])
        if "permissions" in job:
            assert job["permissions"] == {"contents": "write"}
            assert not [step for step in job["steps"] if "checkout" in step.get("uses", "")]


def test_the_tag_of_this_version_begins_a_release() -> None:
    # YAML reads the key `on` as true.
    (pattern,) = workflow(ROOT / ".github" / "workflows" / "release.yml")[True]["push"]["tags"]
    assert re.fullmatch(pattern.replace(".", r"\."), f"v{__version__}")
