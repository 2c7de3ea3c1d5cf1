"""What is confirmed is what was previewed."""

import shlex

import click
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from relay.cli import main
from relay.cli.lazy import loaded
from relay.console.changes.order import ACTIONS, TYPED_ABOVE, objection, read_order
from tests.unit.console.test_filter_form import GOOD, NOW


@given(GOOD, st.sampled_from(ACTIONS), st.integers(0, 10**9))
def test_what_a_preview_has_fixed_is_read_again_from_its_form(typed: dict[str, str], action: str, newest: int) -> None:
    order = read_order({**typed, "action": action, "all": "1"}, NOW)
    assert not order.faults
    fixed = order.fixed(NOW, newest)
    assert not fixed.faults
    again = read_order({"order": fixed.packed()}, NOW + 3600)
    assert (again.action, again.form.filters, again.subject, again.rate) == (
        fixed.action,
        fixed.form.filters,
        fixed.subject,
        fixed.rate,
    )
    assert again.fixed(NOW + 3600, newest + 100).form.filters == fixed.form.filters, "looked at later it is the same"


@given(GOOD, st.sampled_from(ACTIONS))
def test_a_preview_ends_with_its_moment(typed: dict[str, str], action: str) -> None:
    fixed = read_order({**typed, "action": action, "all": "1"}, NOW).fixed(NOW, 1000)
    assert fixed.form.filters.until is not None
    assert fixed.form.filters.until <= NOW
    first, last = fixed.form.filters.first_seq, fixed.form.filters.last_seq
    if fixed.is_replay:
        assert last is not None and last <= max(1000, first or 0)


@given(GOOD, st.sampled_from(ACTIONS))
def test_the_command_of_an_order_is_one_that_can_be_run(typed: dict[str, str], action: str) -> None:
    assume(all(map(str.isprintable, typed.values())))
    order = read_order({**typed, "action": action, "all": "1", "subject": "rebuild.{topic}", "rate": "7"}, NOW)
    words = shlex.split(order.fixed(NOW, 10**9).command())[1:]
    command: click.Command = main
    while isinstance(command, click.Group):
        command = loaded(command.commands[words.pop(0)])
    command.make_context("relay", words, parent=click.Context(main, **main.context_settings))


@pytest.mark.parametrize(
    ("given_fields", "said"),
    [
        ({"action": "retry"}, "say which events"),
        ({"action": "prune", "topic": "x"}, "no such action"),
        ({"action": "retry", "seq": "x"}, "neither a seq"),
        ({"action": "replay", "topic": "x", "subject": "a b"}, "subject:"),
        ({"action": "replay", "topic": "x", "subject": "{nothing}"}, "subject:"),
        ({"action": "replay", "topic": "x", "rate": "0"}, "rate:"),
        ({"action": "replay", "topic": "x", "rate": "nan"}, "rate:"),
        ({"action": "replay", "topic": "x", "rate": "much"}, "rate:"),
    ],
)
def test_an_order_that_says_too_little_is_refused(given_fields: dict[str, str], said: str) -> None:
    faults = read_order(given_fields, NOW).faults
    assert said in faults[0]


def test_more_than_was_shown_is_not_done_and_many_have_to_be_typed() -> None:
    assert objection(None, "", 1) is not None
    assert objection(100, "", 100) is None
    assert objection(100, "", 110) is None
    assert objection(100, "", 50) is None
    assert objection(100, "", 111) is not None
    many = TYPED_ABOVE + 1
    assert objection(many, "", many) is not None
    assert objection(many, str(many - 1), many) is not None
    assert objection(many, f"{many:,}", many) is None
    assert objection(many, str(many), many) is None
