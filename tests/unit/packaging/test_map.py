"""ARCHITECTURE.md and the index of the documentation are true to the tree."""

import re
import tomllib
from pathlib import Path

import pytest

import relay

ROOT = Path(__file__).parents[3]
MAP = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
ROOMS = sorted(path.parent.name for path in (ROOT / "relay").glob("*/__init__.py"))


def section(title: str) -> str:
    """Return a section of the map."""
    return MAP.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_file_that_the_map_names_is_there() -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", MAP))
    assert named
    assert [name for name in sorted(named) if not (ROOT / "relay" / name).is_file()] == []


def test_every_place_that_a_contributor_is_sent_to_is_there() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("## Where to add what\n")[1].split("\n## ")[0]
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)*(?:\.\w+|/\w+))`", guide)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_folder_that_the_map_names_is_there() -> None:
    named = set(re.findall(r"`([\w/]+)/`", MAP))
    assert [name for name in sorted(named) if not any((base / name).is_dir() for base in (ROOT, ROOT / "relay"))] == []


def test_the_map_has_every_room_and_no_other() -> None:
    assert sorted(re.findall(r"^\| `(\w+)/` \|", section("The rooms"), re.MULTILINE)) == ROOMS


def test_the_map_has_every_folder_of_the_rules_and_no_other() -> None:
    folders = sorted(path.parent.name for path in (ROOT / "relay" / "rules").glob("*/__init__.py"))
    assert sorted(re.findall(r"^\| `rules/(\w+)/` \|", section("The rooms"), re.MULTILINE)) == folders


def test_the_floors_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (floors,) = [contract for contract in contracts if contract.get("containers") == ["relay"]]
    assert floors["exhaustive"]
    block = section("The law of the floors").split("```")[1].strip()

    def rooms(line: str) -> set[str]:
        return set(re.findall(r"\w+", line))

    assert [rooms(line) for line in block.splitlines()] == [rooms(line) for line in floors["layers"]]


def test_the_picture_of_the_package_names_files_that_are_there() -> None:
    picture = (relay.__doc__ or "").split("::")[1].split("`relay.daemon.term`")[0]
    room = ""
    for line in picture.splitlines():
        room = (re.findall(r"^ {4}(\w+)/", line) or [room])[0]
        for name in re.findall(r"[\w/]+\.py", line):
            assert (ROOT / "relay" / room / name).is_file(), f"{room}/{name}"


def test_the_glossary_explains_each_word_once_in_order() -> None:
    words = re.findall(r"^\| ([a-z][\w ,()]*) \| ", section("Glossary"), re.MULTILINE)[1:]
    assert len(words) >= 25
    assert words == sorted(set(words))


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_index_leads_to_every_page(page: Path) -> None:
    index = ROOT / "docs" / "README.md"
    indexes = [index, page.parent / "README.md"] if page.parent != index.parent else [index]
    linked = {
        (one.parent / link.partition("#")[0]).resolve()
        for one in indexes
        if one.is_file()
        for link in re.findall(r"\]\(([^)\s:]+)\)", one.read_text("utf-8"))
    }
    assert page == index or page.resolve() in linked
