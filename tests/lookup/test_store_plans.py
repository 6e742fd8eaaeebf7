"""What a statement costs does not grow with the store: how SQLite, which knows no sizes of tables, goes about it."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from soleclaim.db.engine import reading
from tests.lookup.conftest import Bench


@contextmanager
def heard(bench: Bench) -> Iterator[list[tuple[str, Any]]]:
    """The statements that the store runs meanwhile, with their values."""
    statements: list[tuple[str, Any]] = []

    def hear(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        statements.append((statement, values))

    engine = bench.store._engine.sync_engine
    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", hear)


async def standing(bench: Bench) -> None:
    async with bench.store.reading() as reader:
        await reader.standing("ccer", [bench.key()], covering=["cea"])


async def events(bench: Bench) -> None:
    await bench.events()


async def settle(bench: Bench) -> None:
    async with bench.store.transaction() as transaction:
        await transaction.settle("gp-bj", ["line"])


@pytest.mark.parametrize(
    ("ask", "table", "steps"),
    [
        (standing, "native_project p", ["SEARCH p USING COVERING INDEX native_project_activity"]),
        (settle, "FROM settlement_line l", ["SEARCH l USING INDEX sqlite_autoindex_settlement_line_2 (registry=? AND"]),
        (settle, "FROM settlement_standing t", ["SEARCH t USING INDEX settlement_standing_chain (registry=? AND"]),
        (events, "history_entry h", ["SEARCH outbox USING INDEX", "SEARCH h USING INDEX"]),
    ],
)
async def test_sqlite_goes_from_what_is_asked_to_its_rows(
    bench: Bench, ask: Callable[[Bench], Awaitable[None]], table: str, steps: list[str]
) -> None:
    if bench.kind != "sqlite":
        pytest.skip("PostgreSQL plans by the sizes of tables")
    with heard(bench) as statements:
        await ask(bench)
    [(statement, values)] = [each for each in statements if table in each[0]]
    async with reading(bench.store._engine) as connection:
        plan = [row.detail for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    found = [step for step in plan if step.startswith(tuple(begin.split(" USING")[0] for begin in steps))]
    assert [step.startswith(begin) for step, begin in zip(found, steps, strict=True)] == [True] * len(steps), plan
