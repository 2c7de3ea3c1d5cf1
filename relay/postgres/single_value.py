"""The answer of a statement that returns one value."""

from collections.abc import Sequence
from typing import Any


def value(rows: Sequence[Sequence[Any]]) -> Any:
    """Return the first column of the first row.

    Args:
        rows: At least one row.
    """
    return rows[0][0]


def value_or_none(rows: Sequence[Sequence[Any]] | None) -> Any:
    """Return the first column of the first row; None if there is no row, or nothing was asked."""
    return rows[0][0] if rows else None
