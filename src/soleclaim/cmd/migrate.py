"""``soleclaim migrate``: bring a store's schema up to date, as a job of its own."""

import asyncio
from importlib import resources
from pathlib import Path
from typing import Final

import click

from soleclaim.cmd.output import say

STORES: Final = {"lookup": "soleclaim.lookup", "journal": "soleclaim.registry"}
"""Package whose ``migrations`` folder a store's schema comes from."""


@click.command()
@click.option(
    "--store", type=click.Choice(list(STORES)), required=True, help="The lookup's store or a registry's journal."
)
@click.option(
    "--database-url",
    required=True,
    envvar="SOLECLAIM_DATABASE_URL",
    help="postgresql+psycopg://… or sqlite+aiosqlite:///…",
)
def migrate(store: str, database_url: str) -> None:
    """Bring the schema to the newest version: all of it or nothing. Safe to repeat.

    Descriptions in the lookup's store that older rules filed are then filed again, a thousand at a time.
    """
    from soleclaim.db.migrate import upgrade

    upgrade(database_url, Path(str(resources.files(STORES[store]))) / "migrations")
    if store == "lookup":
        from soleclaim.lookup.store import file_again

        if filed := asyncio.run(file_again(database_url)):
            click.echo(say(f"{filed} descriptions filed again", f"{filed} 条描述已重新编入索引"))
    click.echo(say(f"the {store} store is up to date", f"{store} 存储结构已是最新"))
