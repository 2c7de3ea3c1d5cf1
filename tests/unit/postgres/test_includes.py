"""The shared parts of statements."""

import re
from pathlib import Path

import pytest

from relay.postgres.includes import expand
from relay.postgres.tables import sql_directory

PARTS = sql_directory() / "includes"
INCLUDED = {
    name
    for path in (sql_directory() / "queries").rglob("*.sql")
    for name in re.findall(r"include: *(\w+)", path.read_text("utf-8"))
}
STORED = sorted(path.stem for path in PARTS.iterdir())


def test_each_shared_part_exists_and_is_used() -> None:
    assert set(STORED) == INCLUDED


@pytest.mark.parametrize("name", STORED)
def test_a_shared_part_includes_no_other_and_uses_the_parameters_that_it_names(name: str) -> None:
    heading, *body = (PARTS / f"{name}.sql").read_text("utf-8").splitlines()
    lines = "\n".join(line for line in body if not line.startswith("--"))
    named = re.match(r"-- (\w+)(?:\((.+)\))?: ", heading)
    assert named
    assert named[1] == name
    assert "include:" not in lines
    assert set(re.findall(r"(?<!:):(\w+)", lines)) == set(named[2].split(", ") if named[2] else ())


def test_a_line_that_includes_a_part_becomes_that_part_with_the_arguments(tmp_path: Path) -> None:
    (tmp_path / "since.sql").write_text("-- since(at, moment): later.\n-- More of it.\n  AND :at::text >= :moment\n")
    text = "SELECT 1\n-- since(at) is no include\n-- include: since(e.at, coalesce($1, $2))\nLIMIT 1\n"
    expanded = "SELECT 1\n-- since(at) is no include\n  AND e.at::text >= coalesce($1, $2)\nLIMIT 1\n"
    assert expand(text, tmp_path) == expanded


@pytest.mark.parametrize("line", ["-- include: none\n", "-- include: since\n", "-- include: since($1)\n"])
def test_a_part_that_is_missing_or_takes_other_arguments_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "since.sql").write_text("-- since(at, moment): later.\n  AND :at >= :moment\n")
    with pytest.raises((ValueError, OSError)):
        expand(line, tmp_path)
