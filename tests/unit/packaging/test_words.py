"""The words of CONTRIBUTING, as far as a pattern can tell a forbidden form from an idiom."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_ROOMS = ("bench", "client", "docs", "examples", "helm", "relay", "sql", "tests")
# What was released stays as it was: a migration's text is compared with what a database has run.
_KEPT = re.compile(r"(^|/)(CHANGELOG\.md|requirements[^/]*\.txt|CONTRIBUTING\.md)$|^sql/migrations/|/test_words\.py$")
_TEXT = re.compile(r"\.(py|sql|md|toml|ya?ml|tpl|sh)$|(^|/)Makefile$")

FORMS = {
    "operator": r"\b[Aa] person\b",
    "crash": r"\bwithout a word\b",
    "again": r"\b(anew|afresh)\b",
    "matching": r"\b(events|letters|rows|streams?) like (that|those)\b|\b(is|are) like that\b",
    "previous": r"\bof before\b",
    "0": r"\bnought\b",
    "at most": r"\b[Aa]t most so many\b|\bso many .{0,20}\bat most\b",
    "effective": r"\bholds in the end\b",
    "consistent": r"\bof one mind\b",
    "Return": r"; (gives|tells) (a|an|the|its|their|what|how|whether|which|None|True|False|itself)\b",
    "if": r"\b(None|True|False|nothing|empty|fails?|0|1) where\b",
}
# Idioms whose first word a docstring may begin with.
_IDIOM = re.compile(r"Give(s)? (.* )?(back|up|way|no)\b|Give (the|everything|a) \w+ (back|up)\b|Say (again|nothing)\b")


def texts() -> Iterator[tuple[str, str]]:
    """Yield path and text of each file that we have written."""
    paths = [path for path in _ROOT.iterdir() if path.is_file()]
    for room in _ROOMS:
        paths += (_ROOT / room).rglob("*")
    for path in sorted(paths):
        name = path.relative_to(_ROOT).as_posix()
        if _TEXT.search(name) and not _KEPT.search(name) and path.is_file():
            yield name, path.read_text("utf-8")


@pytest.mark.parametrize("word", FORMS)
def test_plain_words_are_used(word: str) -> None:
    pattern = re.compile(FORMS[word])
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"write {word!r} (see Words in CONTRIBUTING.md):\n" + "\n".join(found)


def test_a_docstring_says_return_and_report_whether() -> None:
    found = []
    for name, text in texts():
        if not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = (ast.get_docstring(node) or "").partition("\n")[0]
                if re.match(r"(Give|Tell|Say)s?\b", first) and not _IDIOM.match(first):
                    found.append(f"{name}:{node.lineno}: {first}")
    assert not found, "a docstring begins with Return, Report whether or Raise:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("word", "line"), [("again", "made anew"), ("if", "None where there is none"), ("0", "nought")]
)
def test_a_forbidden_form_is_found(word: str, line: str) -> None:
    assert re.search(FORMS[word], line)
