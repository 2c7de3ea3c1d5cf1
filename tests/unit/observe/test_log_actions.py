"""The table of log actions says what the code logs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "docs" / "reference" / "log-actions.md"
LEVELS = {"debug", "info", "warning", "error"}


class Said(NamedTuple):
    """An action as one line of the code logs it, or a row of the table tells it."""

    action: str
    levels: frozenset[str]
    fields: frozenset[str]


def literals(node: ast.expr) -> frozenset[str]:
    """Return the texts that an expression may be: one, or the two of a condition."""
    match node:
        case ast.Constant(value=str(text)):
            return frozenset((text,))
        case ast.IfExp(body=body, orelse=orelse):
            return literals(body) | literals(orelse)
        case _:
            return frozenset()


def name_of(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def said(call: ast.Call) -> Said | None:
    """Read a call that names a level, an action and a message, in this order."""
    for at, (level, action) in enumerate(zip(call.args, call.args[1:], strict=False)):
        levels, actions = literals(level), literals(action)
        if levels and levels <= LEVELS and len(actions) == 1 and "." in next(iter(actions)):
            rest = call.args[at + 3 :]
            keys = [key for one in rest if isinstance(one, ast.Dict) for key in one.keys if key is not None]
            fields = {text for key in keys for text in literals(key)}
            fields |= {keyword.arg for keyword in call.keywords if keyword.arg is not None}
            return Said(next(iter(actions)), levels, frozenset(fields))
    return None


def lines_of(tree: ast.Module) -> Iterator[Said]:
    """Yield what a module logs."""
    # A failed duty adds its reason to the first of its two lines.
    failed = {
        id(node.args[1])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and name_of(node) == "DutyFailed" and len(node.args) > 1
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (found := said(node)) is not None:
            yield found._replace(fields=found.fields | {"reason"}) if id(node) in failed else found


def logged() -> dict[str, Said]:
    """Return what the whole program logs, by action."""
    result: dict[str, Said] = {}
    for path in sorted((ROOT / "relay").rglob("*.py")):
        for line in lines_of(ast.parse(path.read_text("utf-8"))):
            known = result.get(line.action, line)
            result[line.action] = Said(line.action, known.levels | line.levels, known.fields | line.fields)
    return result


def rows() -> list[Said]:
    """Return the rows of the table, in their order."""
    found = []
    for row in re.findall(
        r"^\| `([a-z_]+\.[a-z_]+)` \| ([^|]*) \| [^|]+ \| ([^|]*) \|$", TABLE.read_text("utf-8"), re.MULTILINE
    ):
        action, levels, fields = row
        found.append(Said(action, frozenset(levels.split(", ")), frozenset(re.findall(r"`([a-z_]+)`", fields))))
    return found


def test_every_action_stands_in_the_table_with_its_levels_and_its_fields() -> None:
    assert {row.action: row for row in rows()} == logged()


def test_each_action_stands_there_once_and_they_are_sorted() -> None:
    actions = [row.action for row in rows()]
    assert actions == sorted(set(actions))


def test_every_log_line_of_ours_has_a_literal_level_and_action() -> None:
    """What is computed could be found by nobody."""
    for path in sorted((ROOT / "relay").rglob("*.py")):
        if path.name == "duty.py":
            continue  # passes on what a duty says, which is literal there
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and name_of(node) in ("log_event", "LogLine"):
                assert said(node) is not None, f"{path.name}:{node.lineno}"
