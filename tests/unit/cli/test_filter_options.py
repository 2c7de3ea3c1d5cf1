"""The filters that commands share: what is typed, what the audit table keeps, what the queries get."""

import io

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.cli.consent import Consent, Declined, Unasked
from relay.cli.filter_options import seq_range, uuids
from relay.operate.filters import Filters, from_record

CONTEXT, PARAM = click.Context(click.Command("x")), click.Option(["--x"])
MOMENTS = st.none() | st.integers(0, 4_000_000_000).map(float)
SEQS = st.none() | st.integers(1, 2**62)

ANY = st.builds(
    Filters,
    topic=st.none() | st.text(min_size=1),
    key=st.none() | st.text(),
    since=MOMENTS,
    until=MOMENTS,
    ids=st.lists(st.uuids().map(str), max_size=3).map(tuple),
    first_seq=SEQS,
    last_seq=SEQS,
    error=st.none() | st.text(),
)


@given(ANY)
def test_what_the_audit_table_keeps_says_the_same_again(filters: Filters) -> None:
    assert from_record(filters.as_record()) == filters
    assert bool(filters) == (filters != Filters()) == bool(filters.as_record())


@given(ANY, st.dictionaries(st.sampled_from(["subject", "rate"]), st.text()))
def test_options_beside_the_filters_are_passed_over(filters: Filters, options: dict[str, str]) -> None:
    assert from_record({**filters.as_record(), **options}) == filters


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [("7", 7, 7), ("7..9", 7, 9), (" 7.. ", 7, None), ("..9", None, 9), ("7..7", 7, 7)],
)
def test_a_range_of_seqs(text: str, first: int | None, last: int | None) -> None:
    assert seq_range(CONTEXT, PARAM, text) == (first, last)


@pytest.mark.parametrize("text", ["", "..", "x", "7-9", "9..7", "-7", "1.5", "7...9", "9" * 19])
def test_a_range_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        seq_range(CONTEXT, PARAM, text)


def test_ids_are_brought_into_one_form_or_refused() -> None:
    given_id = "0B0C7EF06F0F4F0E9D0A1F1F4C1B7B11"
    assert uuids(CONTEXT, PARAM, (given_id,)) == ("0b0c7ef0-6f0f-4f0e-9d0a-1f1f4c1b7b11",)
    with pytest.raises(click.BadParameter):
        uuids(CONTEXT, PARAM, (given_id, "x"))


class Terminal(io.StringIO):
    """A stdin or stderr that is one."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: bool) -> list[str]:
    asked: list[str] = []

    def confirm(text: str, *, err: bool) -> bool:
        assert err
        asked.append(text)
        return answer

    monkeypatch.setattr("relay.cli.consent.sys.stdin", Terminal())
    monkeypatch.setattr("relay.cli.consent.sys.stderr", Terminal())
    monkeypatch.setattr("relay.cli.consent.click.confirm", confirm)
    return asked


def test_a_person_is_asked_and_may_decline(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = on_a_terminal(monkeypatch, True)
    assert Consent(dry_run=False, yes=False).given("discard 2 dead letters")
    assert asked == ["Discard 2 dead letters?"]
    on_a_terminal(monkeypatch, False)
    with pytest.raises(Declined):
        Consent(dry_run=False, yes=False).given("discard 2 dead letters")


def test_ctrl_c_at_the_question_declines(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(text: str, *, err: bool) -> bool:
        raise click.Abort

    on_a_terminal(monkeypatch, True)
    monkeypatch.setattr("relay.cli.consent.click.confirm", interrupted)
    with pytest.raises(Declined):
        Consent(dry_run=False, yes=False).given("discard 2 dead letters")


def test_who_has_said_yes_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = on_a_terminal(monkeypatch, False)
    assert Consent(dry_run=False, yes=True).given("discard 2 dead letters")
    assert asked == []


@pytest.mark.parametrize("yes", [True, False])
def test_a_dry_run_changes_nothing_whatever_was_said(yes: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert not Consent(dry_run=True, yes=yes).given("discard 2 dead letters")
    assert capsys.readouterr().err == "dry run, nothing is changed: would discard 2 dead letters\n"


def test_without_a_terminal_nobody_can_say_yes() -> None:
    with pytest.raises(Unasked, match="--yes"):
        Consent(dry_run=False, yes=False).given("discard 2 dead letters")
