"""What `make release` builds: the same bytes each time, and an sdist that builds the same wheel without git."""

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.fix_relay import ROOT

PACKAGES = {"outbox_relay": ROOT, "outbox_client": ROOT / "client"}


def build(source: Path, target: Path, *args: str) -> list[Path]:
    environ = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target), *args]
    subprocess.run(command, check=True, cwd=source, capture_output=True, env=environ)
    return sorted(target.iterdir())


def digests(paths: list[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("name", PACKAGES)
def test_building_twice_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    first = digests(build(PACKAGES[name], tmp_path / "first"))
    assert len(first) == 2
    assert first == digests(build(PACKAGES[name], tmp_path / "second"))


@pytest.mark.parametrize("name", PACKAGES)
def test_an_sdist_builds_the_same_wheel_without_git(name: str, tmp_path: Path) -> None:
    wheel, sdist = build(PACKAGES[name], tmp_path / "built")
    assert sdist.name.endswith(".tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    (again,) = build(source, tmp_path / "again", "-t", "wheel")
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(again) as theirs:
        assert ours.namelist() == theirs.namelist()
        assert all(ours.read(one) == theirs.read(one) for one in ours.namelist())


@pytest.mark.parametrize("name", PACKAGES)
def test_an_sdist_holds_nothing_but_what_the_wheel_is_built_of(name: str, tmp_path: Path) -> None:
    (sdist,) = build(PACKAGES[name], tmp_path / "built", "-t", "sdist")
    with tarfile.open(sdist) as archive:
        names = [one.name.partition("/")[2] for one in archive.getmembers() if "/" in one.name]
    docs = [one for one in names if one.startswith("docs/")]
    assert all(one.startswith("docs/operations/runbooks/") for one in docs), "the console shows these alone"
    assert {one.split("/")[0] for one in names} - {"docs"} <= {
        "relay", "sql", "outbox_client", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO",
        "config.example.toml", ".gitignore",
    }  # fmt: skip
