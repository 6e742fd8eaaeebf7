"""Many rows as one relation inside a statement, so that a batch needs no round trip per item."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

SQL_TYPES: Final = {"int": "bigint", "text": "text", "ints": "text"}


class Relation(Protocol):
    """Gives the FROM fragment and the bind values of a list of rows."""

    def __call__(
        self, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]], name: str = "item"
    ) -> tuple[str, dict[str, Any]]:
        """``columns``: (name, "int" | "text"); ``rows``: in the order they shall be processed."""


def unnest(
    columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]], name: str = "item"
) -> tuple[str, dict[str, Any]]:
    """PostgreSQL: one array per column."""
    arrays = list(zip(*rows, strict=True)) or [()] * len(columns)
    fragment = ", ".join(f"CAST(:{name}_{column} AS {SQL_TYPES[kind]}[])" for column, kind in columns)
    names = ", ".join(column for column, _ in columns)
    values = {f"{name}_{column}": list(array) for (column, _), array in zip(columns, arrays, strict=True)}
    return f"unnest({fragment}) AS {name}({names})", values


def json_each(
    columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]], name: str = "item"
) -> tuple[str, dict[str, Any]]:
    """SQLite: one JSON array of rows."""
    fragment = ", ".join(f"value ->> {index} AS {column}" for index, (column, _) in enumerate(columns))
    values = {f"{name}_rows": json.dumps([list(row) for row in rows], separators=(",", ":"))}
    return f"(SELECT {fragment} FROM json_each(:{name}_rows) ORDER BY key) AS {name}", values
