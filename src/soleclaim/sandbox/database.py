"""One SQLite file per stand-in: what was acknowledged survives a power cut."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path


class Database:
    """A connection used by one thread, the event loop's; every write is one ``transaction``."""

    def __init__(self, path: Path, schema: str) -> None:
        # The application may be built in one thread and served in another; never used by two at once.
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        # FULL, so that an acknowledged write is on the disk and not only in the system's cache.
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        # One transaction: a commit per table would be a wait for the disk per table.
        self._connection.executescript(f"BEGIN; {schema} COMMIT;")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; committed and durable when the block ends without an exception."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def run(self, statement: str, *values: object) -> None:
        """Execute one writing statement."""
        self._connection.execute(statement, values)

    def rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query, or ``None``."""
        found: sqlite3.Row | None = self._connection.execute(statement, values).fetchone()
        return found

    def number(self, statement: str, *values: object) -> int:
        """The single integer that a query yields; 0 for NULL."""
        return int(self._connection.execute(statement, values).fetchone()[0] or 0)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
