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


@given(st.text(alphabet=st.sampled_from('a<"\u202e\n\x00é\U000e0001'), max_size=40), st.integers(0, 120), st.booleans())
def test_a_text_is_cut_where_its_markup_has_no_more_room(text: str, most: int, several_lines: bool) -> None:
    def size(shown: str) -> int:
        return len((plain.lines(shown) if several_lines else plain.visible(shown)).encode())

    begin = plain.fitting(text, most, several_lines=several_lines)
    assert text.startswith(begin)
    assert size(begin) <= most
    assert begin == text or size(text[: len(begin) + 1]) > most, "not a character too few"


def test_what_is_cut_off_is_said() -> None:
    assert plain.visible("abcdef", 6) == "abcdef"
    assert plain.visible("abcdef", 4) == "abcd…"
    assert plain.visible("<<<", 8) == Markup("&lt;&lt;…")
    assert plain.visible("\u202e" * 100, 50) == Markup('<span class="esc">\\u202e\\u202e\\u202e\\u202e</span>…')
