"""What the guides print works as it is printed."""

import re
import runpy
from pathlib import Path
from textwrap import dedent

from relay.projection.testing import ReadModels, event

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
