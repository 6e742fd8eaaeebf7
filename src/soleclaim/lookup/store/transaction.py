"""One unit of work on the lookup's store: all that both databases share. Contracts: ``lookup.ports``."""

from soleclaim.lookup.domain import (
    RegistryEntry,
)
from soleclaim.lookup.store.apart import ApartTables
from soleclaim.lookup.store.coverage import CoverageTables
from soleclaim.lookup.store.disputes import DisputeTables
from soleclaim.lookup.store.history import HistoryTables
from soleclaim.lookup.store.reviews import ReviewTables
from soleclaim.lookup.store.rows import (
    to_instant,
)
from soleclaim.lookup.store.settlements import SettlementTables
from soleclaim.lookup.store.splitting import SplitTables
from soleclaim.lookup.store.summary import SummaryTables


class SqlTransaction(
    SplitTables,
    ReviewTables,
    ApartTables,
    SummaryTables,
    CoverageTables,
    SettlementTables,
    HistoryTables,
    DisputeTables,
):
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
