"""The lookup's stores: one schema, the same answers from SQLite and PostgreSQL."""

from pathlib import Path

from soleclaim.db import migrate
from soleclaim.db.engine import POSTGRESQL, busy_is_refused, open_engine, parse_store_url
from soleclaim.lookup.store.base import SqlLookupStore
from soleclaim.lookup.store.postgres import PostgresLookupStore
from soleclaim.lookup.store.refiling import refile
from soleclaim.lookup.store.sqlite import SqliteLookupStore
from soleclaim.policy.bundle import Bundle

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def upgrade(url: str) -> None:
    """Bring the schema of the lookup's store to what this program needs."""
    migrate.upgrade(url, MIGRATIONS)


async def file_again(url: str) -> int:
    """File descriptions again whose keys older rules gave, after ``upgrade``; how many there were."""
    engine = open_engine(url, pool_size=1)
    kind = PostgresLookupStore if parse_store_url(url).drivername == POSTGRESQL else SqliteLookupStore
    try:
        return await refile(kind(engine, {}, 0))
    finally:
        await engine.dispose()


async def open_store(url: str, bundle: Bundle, *, pool_size: int = 8) -> SqlLookupStore:
    """Open a store and make the policy bundle known in it.

    Raises ``SchemaFault`` on a schema it does not know, STORE_BUSY when the database is out of reach.
    """
    engine = open_engine(url, pool_size=pool_size, by_key=True)
    kind = PostgresLookupStore if parse_store_url(url).drivername == POSTGRESQL else SqliteLookupStore
    try:
        with busy_is_refused():
            await migrate.require_head(engine, MIGRATIONS, remedy="soleclaim migrate --store lookup --database-url ...")
        return await kind.open(engine, bundle)
    except BaseException:
        await engine.dispose()
        raise
