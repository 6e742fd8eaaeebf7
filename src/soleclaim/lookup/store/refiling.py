"""Filing stored descriptions again after a change of the rules that give them their keys."""

from typing import Final

from soleclaim.lookup.store.base import SqlLookupStore

PORTION: Final = 1_000
"""Descriptions of one transaction; registering described projects waits for it."""


async def refile(store: SqlLookupStore) -> int:
    """File again what was filed by other rules; how many. Safe to end and to repeat, also while a lookup serves."""
    filed, after = 0, -1
    while True:
        async with store.transaction() as transaction:
            done = await transaction.refile(after=after, limit=PORTION)
        if not done:
            return filed
        filed, after = filed + len(done), done[-1]
