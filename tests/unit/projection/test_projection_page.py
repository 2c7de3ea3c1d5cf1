"""The page of what a projection may say names each key that is accepted, and none that is not."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from relay.projection import Event, Projection, Refresh, Transaction, on, toml_file, upcast

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "projection-file.md").read_text("utf-8")


def rows(title: str) -> dict[str, list[str]]:
    """Return the rows below a title, each by what its first cell names."""
    section = PAGE.partition(f"{title}\n")[2]
    section = re.split(r"\n##+ ", section)[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {re.findall(r"`([^`]+)`", cells[0])[0]: [cell.strip() for cell in cells] for cells in lines}


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("## `[projection]`", toml_file._Projection),
        ("## `[[on]]`", toml_file._On),
        ("## `[[refresh]]`", toml_file._Refresh),
    ],
)
def test_each_key_of_a_file_is_there_with_its_default(title: str, model: type[toml_file._Table]) -> None:
    found = rows(title)
    assert list(found) == list(model.model_fields)
    for name, field in model.model_fields.items():
        told = found[name][2]
        if field.is_required():
            assert told == "", name
        elif field.default is not None:
            assert told.strip("`").strip('"') == str(field.default).lower(), name
        else:
            assert told, name


def test_the_tables_of_a_file_are_there() -> None:
    assert re.findall(r"^## `\[+(\w+)\]+`$", PAGE, re.MULTILINE) == list(toml_file._File.model_fields)


def test_what_a_class_may_say_is_there() -> None:
    own = set(vars(Projection)["__annotations__"])
    told = set(re.findall(r"`(\w+)`", " ".join(cells[4] for cells in rows("## `[projection]`").values())))
    assert own - {"refreshes"} == told
    assert "refreshes" in PAGE
    for function in (on, upcast):
        for parameter in inspect.signature(function).parameters:
            assert parameter in PAGE, parameter
    told = set(
        re.findall(r"`(\w+)`|Refresh\((\w+)\)", " ".join(cells[4] for cells in rows("## `[[refresh]]`").values()))
    )
    assert {one or other for one, other in told} >= set(Refresh._fields)


def test_the_methods_of_a_transaction_are_there() -> None:
    told = {re.findall(r"tx\.(\w+)", name)[0] for name in rows("### `Transaction`")}
    public = {name for name in vars(Transaction) if not name.startswith("_")}
    assert told == public - {"end", "failure_behind"}


def test_the_attributes_of_an_event_are_there() -> None:
    assert list(rows("### `Event`")) == [field.name for field in dataclasses.fields(Event)]
