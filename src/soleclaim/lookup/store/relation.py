"""Many rows as one relation inside a statement, so that a batch needs no round trip per item."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

SQL_TYPES: Final = {"int": "bigint", "text": "text"}


class Relation(Protocol):
    """Gives the FROM fragment and the bind values of a list of rows."""

    def __call__(
        self, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]], name: str = "item"
    ) -> tuple[str, dict[str, Any]]:
        """``columns``: (name, "int" | "text"); ``rows``: in the order they shall be processed."""


def unnest(
    columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]], name: str = "item"
) -> tuple[str, dict[str, Any]]:
    """PostgreSQL: one array per column, as a literal: the driver takes ten times as long to dump a list."""
    arrays = list(zip(*rows, strict=True)) or [()] * len(columns)
    fragment = ", ".join(f"CAST(:{name}_{column} AS {SQL_TYPES[kind]}[])" for column, kind in columns)
    names = ", ".join(column for column, _ in columns)
    values = {
        f"{name}_{column}": _int_array(array) if kind == "int" else _text_array(array)
        for (column, kind), array in zip(columns, arrays, strict=True)
    }
    return f"unnest({fragment}) AS {name}({names})", values


def _int_array(values: Sequence[Any]) -> str:
    if None in values:
        return f"{{{','.join(['NULL' if value is None else str(int(value)) for value in values])}}}"
    return f"{{{','.join(map(int.__repr__, values))}}}"


def _text_array(values: Sequence[Any]) -> str:
    if None in values:
        return f"{{{','.join(['NULL' if value is None else _quoted(value) for value in values])}}}"
    if not values or _needs_escape("".join(values)):
        return f"{{{','.join(map(_quoted, values))}}}"
    # Nearly always: one pass over all of them instead of one call each.
    return '{"' + '","'.join(values) + '"}'


def _needs_escape(text: str) -> bool:
    """Inside the quotes of an element only these two characters mean something."""
    return "\\" in text or '"' in text


def _quoted(value: str) -> str:
    if _needs_escape(value):
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def json_each(
    columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]], name: str = "item"
) -> tuple[str, dict[str, Any]]:
    """SQLite: one JSON array of rows."""
    fragment = ", ".join(f"value ->> {index} AS {column}" for index, (column, _) in enumerate(columns))
    values = {f"{name}_rows": json.dumps([list(row) for row in rows], separators=(",", ":"))}
    return f"(SELECT {fragment} FROM json_each(:{name}_rows) ORDER BY key) AS {name}", values
