"""The shape of the program: small files, few collaborators, and fields that only their owner writes."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
FILES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted((ROOT / "relay").rglob("*.py"))}
MOST_LINES = 400
MOST_PARAMETERS = 7
# Fields of libraries that offer no other way.
FOREIGN = {
    "ctx.color",
    "command.short_help",
    "reader.env_vars",
    "logging.raiseExceptions",
    "sys.unraisablehook",
    "conn.read_only",
    "conn.isolation_level",
}


@cache
def trees() -> dict[str, ast.Module]:
    """Return each file as its syntax tree."""
    return {name: ast.parse(text) for name, text in FILES.items()}


def targets(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Yield each attribute that is assigned, or deleted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node


def own_fields(tree: ast.AST) -> set[str]:
    """Return the fields of the classes of a module."""
    fields = {node.attr for node in targets(tree) if ast.unparse(node.value) in ("self", "cls")}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            fields |= {
                part.target.id
                for part in node.body
                if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
            }
    return fields


def test_a_file_has_one_idea_and_at_most_400_lines() -> None:
    assert [name for name, text in FILES.items() if len(text.splitlines()) > MOST_LINES] == []


def test_only_the_owner_of_a_field_writes_it() -> None:
    written = []
    for name, tree in trees().items():
        own = own_fields(tree)
        written += [
            f"{name}:{node.lineno}: {ast.unparse(node)}"
            for node in targets(tree)
            if ast.unparse(node.value) not in ("self", "cls")
            and node.attr not in own
            and ast.unparse(node) not in FOREIGN
        ]
    assert not written


def test_a_constructor_takes_at_most_seven_parameters() -> None:
    crowded = [
        f"{name}: {made.name} takes {len(parameters)}"
        for name, tree in trees().items()
        for made in ast.walk(tree)
        if isinstance(made, ast.ClassDef)
        for method in made.body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__"
        if len(parameters := [*method.args.posonlyargs, *method.args.args[1:], *method.args.kwonlyargs])
        > MOST_PARAMETERS
    ]
    assert not crowded


def test_a_write_to_a_foreign_field_is_found() -> None:
    tree = ast.parse("class A:\n    def f(self, other):\n        self.own = other.theirs = 1\n")
    assert [node.attr for node in targets(tree) if node.attr not in own_fields(tree)] == ["theirs"]
