"""Each alert has a page, and what a page says to look at and to run exists."""

import re
import shlex
import tomllib

import click
import pytest

from relay.cli import main
from relay.cli.lazy import loaded
from tests.support.fix_relay import ROOT
from tests.support.promql import documented, faults, table
from tests.unit.observe.test_alerts import ALERTS, NAMES

RUNBOOKS = ROOT / "docs" / "operations" / "runbooks"
PAGES = {path.stem: path.read_text("utf-8") for path in sorted(RUNBOOKS.glob("Outbox*.md"))}
INDEX = (RUNBOOKS / "README.md").read_text("utf-8")
SETTINGS = tomllib.loads((ROOT / "config.example.toml").read_text("utf-8"))
SOURCE = "\n".join(path.read_text("utf-8") for path in (ROOT / "relay").rglob("*.py"))
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """Return each command of ours, as a shell would read it."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()] + _INLINE.findall(page)
    return [line for line in lines if line.startswith("relay ")]


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert sorted(PAGES) == NAMES
    for name in NAMES:
        severities = sorted({rule["labels"]["severity"] for rule in ALERTS if rule["alert"] == name})
        assert f"| [{name}]({name}.md) | {', '.join(severities)} |" in INDEX


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_is_wrong_what_to_look_at_and_what_to_do(name: str) -> None:
    page = PAGES[name]
    assert page.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == ["What is wrong", "Look at", "Do", "Afterwards"]
    assert commands(page)
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (RUNBOOKS / link).exists(), link


@pytest.mark.parametrize("name", PAGES)
def test_each_command_on_a_page_can_be_run(name: str) -> None:
    for line in commands(PAGES[name]):
        words = shlex.split(line, comments=True)[1:]
        command: click.Command = main
        while isinstance(command, click.Group):
            found = command.commands.get(words.pop(0))
            assert found is not None, line
            command = loaded(found)
        command.make_context("relay", words, parent=click.Context(main, **main.context_settings))


@pytest.mark.parametrize("name", PAGES)
def test_a_tool_that_a_page_calls_is_the_relay_or_one_that_the_index_says_how_to_get(name: str) -> None:
    """The image holds the relay alone."""
    elsewhere = INDEX[INDEX.index("The image holds the relay alone") :]
    lines = [line for block in blocks(PAGES[name], "sh") for line in block.splitlines() if line.strip()]
    lines += [
        line for line in _INLINE.findall(PAGES[name]) if re.match(r"(nats|psql|kubectl|curl|jq|redis-cli) ", line)
    ]
    tools = {line.split()[0] for line in lines if not line.startswith(("#", " "))}
    assert not {tool for tool in tools - {"relay", "kubectl"} if f"`{tool}`" not in elsewhere}


@pytest.mark.parametrize("name", PAGES)
def test_each_metric_setting_and_log_line_on_a_page_exists(name: str) -> None:
    known = {**documented(), **{metric: labels for metric, (_, labels) in table().items()}}
    for said in _INLINE.findall(PAGES[name]):
        if re.search(r"outbox_(relay|projection)_", said):
            assert faults(said, known) == [], said
        section, dot, setting = said.partition(" = ")[0].partition(".")
        if dot and section in SETTINGS:
            assert setting in SETTINGS[section] or f'"{section}.{setting}"' in SOURCE, said
        elif re.fullmatch(r"[a-z]+\.[a-z]+", said):
            assert f'"{said}"' in SOURCE, said
    for query in blocks(PAGES[name], "promql"):
        assert faults(query, known) == [], query
