"""One unit of work on the lookup's store: all that both databases share. Contracts: ``lookup.ports``."""

from soleclaim.lookup.domain import (
    RegistryEntry,
)
from soleclaim.lookup.store.changes import LockChanges
from soleclaim.lookup.store.identity import IdentityTables
from soleclaim.lookup.store.merging import MergeTables
from soleclaim.lookup.store.reviews import ReviewTables
from soleclaim.lookup.store.rows import (
    to_instant,
)


class SqlTransaction(IdentityTables, ReviewTables, MergeTables, LockChanges):
    """``Transaction`` over SQLAlchemy Core; the subclasses bring what differs between the databases."""

    async def announce(self, code: str, endpoint: str, api_version: str) -> None:
        """See ``Transaction``."""
        await self._run(
            "INSERT INTO registry_entry (code, endpoint, api_version, announce_us) "
            f"VALUES (:code, :endpoint, :api_version, {self.now_sql}) ON CONFLICT (code) DO UPDATE SET "
            "endpoint = excluded.endpoint, api_version = excluded.api_version, announce_us = excluded.announce_us",
            code=code,
            endpoint=endpoint,
            api_version=api_version,
        )

    async def registry_entries(self) -> dict[str, RegistryEntry]:
        """See ``Reader``."""
        rows = await self._run(
            f"SELECT code, endpoint, api_version, announce_us, {self.now_sql} - announce_us FROM registry_entry"
        )
        return {row[0]: RegistryEntry(row[0], row[1], row[2], to_instant(row[3]), row[4] / 1_000_000) for row in rows}
