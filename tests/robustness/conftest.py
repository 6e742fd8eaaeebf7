"""Migrated databases of both kinds, many and quickly."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from soleclaim.db.migrate import upgrade
from tests.robustness.world import Databases, Kind, copy_sqlite

SOURCE = Path(__file__).parents[2] / "src" / "soleclaim"
MIGRATIONS = {"lookup": SOURCE / "lookup" / "migrations", "journal": SOURCE / "registry" / "migrations"}


@pytest.fixture(scope="session")
def databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Kind], Databases]]:
    """Gives a maker of migrated databases; they are copies of one template for each schema."""
    folder = tmp_path_factory.mktemp("databases")
    known: dict[Kind, Databases] = {}
    with contextlib.ExitStack() as stack:

        def on_sqlite() -> Databases:
            for name, migrations in MIGRATIONS.items():
                upgrade(f"sqlite+aiosqlite:///{folder / name}.db", migrations)
            return Databases("sqlite", lambda name: copy_sqlite(folder / f"{name}.db", folder))

        def on_postgres() -> Databases:
            server: Any = request.getfixturevalue("postgres_server")
            templates = {}
            for name, migrations in MIGRATIONS.items():
                url = stack.enter_context(server.database())
                upgrade(url, migrations)
                templates[name] = url.rpartition("/")[2]
            return Databases("postgres", lambda name: stack.enter_context(server.database(templates[name])))

        def of(kind: Kind) -> Databases:
            if kind not in known:
                known[kind] = on_sqlite() if kind == "sqlite" else on_postgres()
            return known[kind]

        yield of
