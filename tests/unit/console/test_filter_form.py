"""The filters in an address mean what the flags of `relay list` mean."""

import shlex
import subprocess
from urllib.parse import parse_qsl

import click
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from relay.cli import main
from relay.cli.lazy import loaded
from relay.console.filter_form import NAMES, FilterForm, asks, command, read_form

NOW = 1_900_000_000.0
ANY = st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]), max_size=20)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20) | ANY
GOOD = st.fixed_dictionaries(
    {},
    optional={
        "topic": TEXT,
        "key": TEXT,
        "since": st.sampled_from(["2h", "2030-01-31T12:00", "90s"]),
        "until": st.sampled_from(["15m", "2031-01-31"]),
        "seq": st.sampled_from(["7", "7..9", "7..", "..9"]),
        "id": st.lists(st.uuids().map(str), max_size=2).map(" ".join),
        "error": TEXT,
    },
)


@given(GOOD)
def test_a_form_written_as_an_address_is_the_same_form_again(typed: dict[str, str]) -> None:
    form = read_form(typed, NOW)
    assert not form.faults
    again = read_form(dict(parse_qsl(form.query(state="dead"), keep_blank_values=True)), NOW)
    assert again == form


@pytest.mark.parametrize("text", ["a b", "it's", "a\u202eb", "\x1b[2J7", "back\\slash'\n", "\U000e0001f", "$x`y`\t"])
def test_bash_reads_a_command_as_it_was_meant(text: str) -> None:
    words = command("list", f"--key={text}").removeprefix("relay ")
    assert words.isprintable()
    bash = ["bash", "-c", f"printf '%s|' {words}"]
    ended = subprocess.run(bash, capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert ended.stdout.decode() == f"list|--key={text}|"


@given(GOOD)
def test_the_command_beside_a_list_finds_the_same_events(typed: dict[str, str]) -> None:
    assume(all(map(str.isprintable, typed.values())))
    form = read_form({name: value for name, value in typed.items() if name not in ("since", "until")}, NOW)
    words = shlex.split(command("list", "--state", "any", *form.flags()))
    assert words[:2] == ["relay", "list"]
    listing = loaded(main.commands["list"])
    parsed = listing.make_context("list", words[2:], parent=click.Context(main, **main.context_settings)).params
    for name in ("topic", "key", "error"):
        assert (parsed[name] or None) == getattr(form.filters, name)
    assert parsed["ids"] == form.filters.ids
    assert parsed["seqs"] == (form.filters.first_seq, form.filters.last_seq)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("since", "yesterday"),
        ("until", "x"),
        ("seq", "9..7"),
        ("seq", "a"),
        ("id", "7"),
        ("key", "\x00"),
        ("topic", "a\x00"),
    ],
)
def test_a_fault_is_said_beside_its_field_and_nothing_is_filtered(name: str, text: str) -> None:
    form = read_form({"topic": "orders.>", name: text}, NOW)
    assert list(form.faults) == [name]
    assert form.filters == FilterForm({}, form.filters, {}).filters
    assert form.value(name) == text.strip()


def test_what_is_no_filter_is_passed_over() -> None:
    form = read_form({"state": "dead", "limit": "5", "sneaky": "x", **dict.fromkeys(NAMES, " ")}, NOW)
    assert not form
    assert form.query(state="dead", limit=None) == "state=dead"


@pytest.mark.parametrize(
    "text",
    [
        *("dead retry --seq 7", "dead discard", "replay --resume 4", "stream create ORDERS", "stream edit ORDERS"),
        *("dead summary", "doctor", "explain 7", "list --state any", "run", "status", "stream show ORDERS", "audit"),
    ],
)
def test_a_page_says_of_each_command_that_asks_that_it_does(text: str) -> None:
    words = text.split()
    found = loaded(main.commands[words[0]])
    if isinstance(found, click.Group):
        found = loaded(found.commands[words[1]])
    assert asks(f"relay {text}") == any(option.name == "yes" for option in found.params)


def test_verify_asks_only_to_send_again() -> None:
    assert asks("relay verify --stream ORDERS --redeliver") and not asks("relay verify --stream ORDERS")
