"""Text of rows in a page is text."""

from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, select_autoescape
from markupsafe import Markup

from relay.console import plain

PAGE = Environment(autoescape=select_autoescape(default=True), finalize=plain.harmless).from_string(
    '<a title="{{ it }}">{{ it }}</a>'
)


@given(st.text())
def test_no_text_leaves_its_place_in_a_page_or_stays_unseen(text: str) -> None:
    page = PAGE.render(it=text)
    inside = page.removeprefix('<a title="').removesuffix("</a>")
    assert "<" not in inside.replace('">', "", 1)
    assert page.count('"') == 2
    assert page.isprintable()


@given(st.text())
def test_what_is_made_visible_holds_no_other_markup_and_nothing_that_cannot_be_seen(text: str) -> None:
    shown = str(plain.visible(text))
    left = shown.replace('<span class="esc">', "").replace("</span>", "")
    assert "<" not in left and '"' not in left
    assert shown.isprintable()


@given(st.text())
def test_lines_stay_lines(text: str) -> None:
    assert str(plain.lines(text)).count("\n") == text.count("\n")


def test_control_and_bidi_characters_are_shown_as_escapes() -> None:
    assert plain.harmless("a\u202eb\x1b[2J") == "a\\u202eb\\x1b[2J"
    assert plain.visible("a\u202e<b>") == Markup('a<span class="esc">\\u202e</span>&lt;b&gt;')
    assert plain.cut("abcdef", 4) == "abc…"
