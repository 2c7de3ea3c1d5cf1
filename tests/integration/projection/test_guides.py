"""What the guides print works as it is printed."""

import re
import runpy
from pathlib import Path
from textwrap import dedent

import pytest

from relay.projection.testing import ReadModels, event
from relay.projection.toml_file import read_file

GUIDES = Path(__file__).parents[3] / "docs" / "guides"


def test_a_payload_of_each_version_is_read(empty_database: str, tmp_path: Path) -> None:
    text = (GUIDES / "schema-versions.md").read_text("utf-8")
    (sample,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    printed = tmp_path / "totals.py"
    printed.write_text(dedent(sample), "utf-8")
    names = runpy.run_path(str(printed))
    old = event("orders.placed", {"total": 19.99}, key="order-42", version=1)
    new = event("orders.placed", {"total_cents": 500}, key="order-43", version=2)
    newer = event("orders.placed", {"total_cents": 500}, key="order-44", version=3)
    scenario = ReadModels(empty_database).given(old, new, newer).when(names["OrderTotals"])
    rows = [("order-42", 1999), ("order-43", 500)]
    scenario.then("SELECT id, cents FROM totals", rows, parked={3: "nothing is defined for version 3 of orders.placed"})


PLACED = event("orders.placed", {"customer": "Ada", "total_cents": 1200}, key="1")
MORE = event("orders.placed", {"customer": "Ada", "total_cents": 300}, key="2")
PAID = event("orders.paid", {}, key="1")
BROKEN = event("orders.placed", {"customer": "Ada", "total_cents": "a lot"}, key="3")


@pytest.fixture
def printed(tmp_path: Path) -> Path:
    """Write the files that the guide to read models prints, each under the name in its first line."""
    text = (GUIDES / "read-models.md").read_text("utf-8")
    for snippet in re.findall(r"```(?:toml|sql|python)\n(.*?)```", text, re.DOTALL):
        named = re.match(r"(?:#|--) (added to )?([\w/]+\.(?:toml|sql|py))\b", snippet)
        if named is None:
            continue
        file = tmp_path / named[2]
        file.parent.mkdir(exist_ok=True)
        assert file.exists() == bool(named[1]), f"{named[2]} is printed twice, or added to before it is printed"
        with file.open("a", encoding="utf-8") as out:
            out.write(snippet)
    return tmp_path


def test_the_printed_files_are_all_read(printed: Path) -> None:
    names = {read_file(file).name for file in (printed / "projections").glob("*.toml")}
    assert names == {"order_list", "customers", "device_stats"}


def test_a_table_fed_by_two_topics_and_its_view(empty_database: str, printed: Path) -> None:
    file = printed / "projections" / "order_list.toml"
    scenario = ReadModels(empty_database).given(PLACED, MORE, PAID, BROKEN).when(file)
    scenario.then(
        "SELECT id, state, cents FROM orders", [("1", "paid", 1200), ("2", "placed", 300)], parked={4: "22P02"}
    )
    scenario.then("SELECT orders FROM daily", [(2,)], parked={4: "22P02"})
    ReadModels(empty_database).check(file, [PLACED, MORE, PAID, BROKEN], runs=10)


def test_sums_of_a_customer(empty_database: str, printed: Path) -> None:
    file = printed / "projections" / "customers.toml"
    ReadModels(empty_database).given(PLACED, MORE, PAID).when(file).then("SELECT * FROM customers", [("Ada", 2, 1500)])
    ReadModels(empty_database).check(file, [PLACED, MORE, PAID], runs=10)


def test_the_class_is_a_whole_program(empty_database: str, printed: Path) -> None:
    names = runpy.run_path(str(printed / "order_list.py"))
    scenario = ReadModels(empty_database).given(PLACED, MORE, PAID).when(names["OrderList"])
    scenario.then("SELECT id, state FROM orders", [("1", "paid"), ("2", "placed")])
