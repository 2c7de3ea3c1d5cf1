"""The Python samples of the documentation, to be run as they are printed."""

import ast
import asyncio
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_SAMPLE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)

Names = dict[str, Any]

README_TEXT = (ROOT / "client" / "README.md").read_text("utf-8")
README = _SAMPLE.findall(README_TEXT)
_GUIDE = (ROOT / "docs" / "guides" / "producers.md").read_text("utf-8")
GUIDE = _SAMPLE.findall(_GUIDE)


def sample(holding: str, samples: list[str] = README) -> str:
    """Return the sample that holds a text."""
    (found,) = [one for one in samples if holding in one]
    return found


def run(text: str, names: Names) -> Names:
    """Run a sample, with its ``await`` if it has one; return the names that it leaves."""
    code = compile(text, "sample", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    made = eval(code, names)  # noqa: S307 - exec would drop the coroutine; the text is of this checkout's pages
    if made is not None:
        asyncio.run(made)
    return names


def block_of(language: str) -> str:
    """Return the guide's sample in another language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", _GUIDE, re.DOTALL | re.MULTILINE)
    return str(block)


def insert_of(language: str) -> str:
    """Return the INSERT of the guide's sample in another language, with the placeholders of psycopg's RawCursor."""
    (statement,) = re.findall(r"[\"`](INSERT INTO outbox_events [^\"`]+)[\"`]", block_of(language))
    numbers = iter(range(1, 10))
    return re.sub(r"\?", lambda _: f"${next(numbers)}", statement)


def sql_of_the_guide() -> list[str]:
    """Return the SQL samples of the guide that a producer runs; the others change the table."""
    samples = re.findall(r"^```sql\n(.*?)^```", _GUIDE, re.DOTALL | re.MULTILINE)
    return [one for one in samples if not one.startswith("ALTER TABLE outbox_events")]
