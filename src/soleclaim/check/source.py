"""Reading a store: one consistent, read-only snapshot, streamed, in plain SQL."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import psycopg

from soleclaim.check.findings import CannotLook
from soleclaim.db.engine import SQLITE, parse_store_url

Row = Sequence[Any]
FETCH: Final = 2_000
"""Rows fetched from PostgreSQL at a time."""


class Snapshot(Protocol):
    """A store as it was at one moment. ``binary`` makes a text column sort by its bytes, as Python does."""

    name: str

    def rows(self, sql: str, *values: object) -> Iterator[Row]:
        """Stream a query's rows; ``?`` stands for a value."""

    def binary(self, column: str) -> str:
        """The column with byte order."""


class _SqliteSnapshot:
    def __init__(self, name: str, connection: sqlite3.Connection) -> None:
        self.name = name
        self._connection = connection

    def rows(self, sql: str, *values: object) -> Iterator[Row]:
        """See ``Snapshot``."""
        with _told(self.name):
            yield from self._connection.execute(sql, values)

    def binary(self, column: str) -> str:
        """See ``Snapshot``."""
        return f"{column} COLLATE BINARY"


class _PostgresSnapshot:
    def __init__(self, name: str, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        self.name = name
        self._connection = connection
        self._cursors = 0

    def rows(self, sql: str, *values: object) -> Iterator[Row]:
        """See ``Snapshot``."""
        self._cursors += 1
        with _told(self.name), self._connection.cursor(f"check_{self._cursors}") as cursor:
            cursor.itersize = FETCH
            cursor.execute(sql.replace("?", "%s").encode(), values)
            yield from cursor

    def binary(self, column: str) -> str:
        """See ``Snapshot``."""
        return f'{column} COLLATE "C"'


@contextmanager
def open_snapshot(name: str, url: str, *, tables: Iterable[str]) -> Iterator[Snapshot]:
    """Open the store read-only; ``CannotLook`` when it is out of reach or lacks one of ``tables``.

    ``StoreUrlFault`` for a URL that is none. PostgreSQL: one REPEATABLE READ, READ ONLY transaction. SQLite: one read
    transaction on a file opened read-only.
    """
    parsed = parse_store_url(url)
    if parsed.drivername == SQLITE:
        opened = _open_sqlite(name, Path(parsed.database or ""))
    else:
        opened = _open_postgres(name, parsed.set(drivername="postgresql").render_as_string(hide_password=False))
    with opened as snapshot:
        for table in tables:
            # Also fixes the moment that SQLite's transaction sees.
            list(snapshot.rows(f"SELECT 1 FROM {table} LIMIT 1"))  # noqa: S608  our own table names
        yield snapshot


@contextmanager
def _open_sqlite(name: str, path: Path) -> Iterator[Snapshot]:
    if not path.is_file():
        raise CannotLook(f"{name}: the file {path} does not exist")
    with _told(name):
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=10)
        connection.execute("BEGIN")
    try:
        yield _SqliteSnapshot(name, connection)
    finally:
        connection.close()


@contextmanager
def _open_postgres(name: str, conninfo: str) -> Iterator[Snapshot]:
    with _told(name):
        connection = psycopg.connect(conninfo, connect_timeout=5)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
    try:
        yield _PostgresSnapshot(name, connection)
    finally:
        connection.close()


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turns whatever the driver says into ``CannotLook``: a half-read store proves nothing."""
    try:
        yield
    except (sqlite3.Error, psycopg.Error) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CannotLook(f"{name}: {first}") from error


class Groups:
    """A stream sorted by its first column, read group by group in step with others."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._next: Row | None = next(rows, None)

    @property
    def key(self) -> Any:  # noqa: ANN401  whatever the first column holds
        """Key of the next group; ``None`` at the end."""
        return None if self._next is None else self._next[0]

    def take(self, key: object) -> list[Row]:
        """The rows of the group ``key``, which must not lie before the next one; empty when there is none."""
        taken = []
        while self._next is not None and self._next[0] == key:
            taken.append(self._next)
            self._next = next(self._rows, None)
        return taken


def in_step(*streams: Iterator[Row]) -> Iterator[tuple[Any, list[list[Row]]]]:
    """Merge sorted streams: each key once, in order, with every stream's rows for it."""
    groups = [Groups(stream) for stream in streams]
    while keys := [each.key for each in groups if each.key is not None]:
        key = min(keys)
        yield key, [each.take(key) for each in groups]
