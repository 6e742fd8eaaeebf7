"""Where a demo's stores live: SQLite files in its own folder, or new databases beside a given PostgreSQL database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from soleclaim.db.engine import SQLITE, parse_store_url

STORES: Final = ("lookup", "ccer", "gec")
"""The lookup's store and the two journals."""

_OURS: Final = ("issuance_lock", "segment", "unit_block", "issuance_history", "native_project")


class DatabaseFault(Exception):
    """The demo will not use this database; the message says why and what to give instead."""


@dataclass(frozen=True, slots=True)
class Databases:
    """URL of each store."""

    urls: dict[str, str]

    @property
    def lookup(self) -> str:
        """The lookup's store."""
        return self.urls["lookup"]

    @property
    def journals(self) -> dict[str, str]:
        """Journal by registry."""
        return {name: url for name, url in self.urls.items() if name != "lookup"}


@contextmanager
def open_databases(folder: Path, given_url: str | None, *, keep: bool) -> Iterator[Databases]:
    """Empty databases for a run; those made in PostgreSQL are dropped at the end unless ``keep``.

    ``DatabaseFault`` when the given database holds soleclaim's tables, or one of the new names is taken: nothing that
    is there already is ever used or changed.
    """
    if given_url is None:
        yield Databases({name: f"{SQLITE}:///{folder / name}.db" for name in STORES})
        return
    parsed = parse_store_url(given_url)
    if parsed.drivername == SQLITE:
        raise DatabaseFault("--database-url is for PostgreSQL; without it the demo uses SQLite files of its own")
    names = {store: f"{parsed.database}_{store}" for store in STORES}
    conninfo = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
        _refuse_used(connection, str(parsed.database), list(names.values()))
        made: list[str] = []
        try:
            for name in names.values():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                made.append(name)
            yield Databases(
                {
                    store: parsed.set(database=name).render_as_string(hide_password=False)
                    for store, name in names.items()
                }
            )
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseFault(
                f"the user of --database-url may not create databases; allow it (ALTER ROLE … CREATEDB): {error}"
            ) from error
        finally:
            if not keep:
                for name in made:
                    connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _refuse_used(connection: "psycopg.Connection[tuple[object, ...]]", database: str, names: list[str]) -> None:
    tables = connection.execute(
        "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_name = ANY(%s)",
        (list(_OURS),),
    ).fetchall()
    if tables:
        held = ", ".join(sorted(str(row[0]) for row in tables))
        raise DatabaseFault(f"database {database} holds soleclaim's tables ({held}); give the demo an empty database")
    taken = connection.execute("SELECT datname FROM pg_database WHERE datname = ANY(%s)", (names,)).fetchall()
    if taken:
        there = ", ".join(sorted(str(row[0]) for row in taken))
        raise DatabaseFault(
            f"the demo makes the databases {', '.join(names)}, and there is {there} already; it touches nothing that"
            " exists: drop what is left of an earlier run yourself, or give another database"
        )
