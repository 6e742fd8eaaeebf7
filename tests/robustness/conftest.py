"""Migrated databases of both kinds, many and quickly: copies of one template for each schema."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from soleclaim.db.migrate import upgrade
from tests.robustness.world import Databases, Kind, copy_sqlite

if TYPE_CHECKING:
    from tests.conftest import PostgresServer

SOURCE = Path(__file__).parents[2] / "src" / "soleclaim"
MIGRATIONS = {"lookup": SOURCE / "lookup" / "migrations", "journal": SOURCE / "registry" / "migrations"}


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    folder = tmp_path_factory.mktemp("databases")
    for name, migrations in MIGRATIONS.items():
        upgrade(f"sqlite+aiosqlite:///{folder / name}.db", migrations)
    return Databases("sqlite", lambda name: copy_sqlite(folder / f"{name}.db", folder))


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: "PostgresServer") -> Iterator[Databases]:
    with contextlib.ExitStack() as stack:
        templates = {}
        for name, migrations in MIGRATIONS.items():
            url = stack.enter_context(postgres_server.database())
            upgrade(url, migrations)
            templates[name] = url.rpartition("/")[2]
        yield Databases("postgres", lambda name: stack.enter_context(postgres_server.database(templates[name])))


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Callable[[Kind], Databases]:
    """Gives the maker of databases of a kind; skips or fails the test where the machine lacks it."""

    def of(kind: Kind) -> Databases:
        made: Databases = request.getfixturevalue(f"{kind}_databases")
        return made

    return of
