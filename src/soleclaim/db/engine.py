"""Engines for the two databases a store may live in: SQLite (embedded) and PostgreSQL.

Everything has a limit here, so that no statement, lock or idle transaction outlives the call that made it.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from soleclaim.core.errors import DomainError, Reason

SQLITE: Final = "sqlite+aiosqlite"
POSTGRESQL: Final = "postgresql+psycopg"

_READ_ONLY: Final = "soleclaim_read_only"
_BUSY_IN_SQLITE: Final = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN}
)
_TAKEN_IN_SQLITE: Final = frozenset({sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE})
_TAKEN_IN_POSTGRES: Final = frozenset({"23505", "23P01"})


class StoreUrlFault(Exception):
    """The database URL cannot be used; the message says what to write instead."""


def parse_store_url(text: str) -> URL:
    """Accept the two forms of URL; ``StoreUrlFault`` otherwise, with a text that never shows a password."""
    try:
        url = make_url(text)
    except ArgumentError:
        url = None
    if url is None or url.drivername not in (SQLITE, POSTGRESQL):
        raise StoreUrlFault(
            f"the database URL must start with {SQLITE}:///path/to/file or {POSTGRESQL}://user@host/database"
        )
    if url.drivername == SQLITE and url.database in (None, "", ":memory:"):
        raise StoreUrlFault(f"an SQLite store needs a file: {SQLITE}:///path/to/file; memory is not durable")
    return url


def open_engine(
    url: str,
    *,
    pool_size: int = 8,
    pool_timeout: timedelta = timedelta(seconds=5),
    statement_timeout: timedelta = timedelta(seconds=20),
    lock_timeout: timedelta = timedelta(seconds=5),
    idle_timeout: timedelta = timedelta(seconds=30),
    by_key: bool = False,
) -> AsyncEngine:
    """An engine whose every wait is bounded; connects on first use. Raises ``StoreUrlFault``.

    SQLite: WAL, ``synchronous=FULL`` (a commit survives power loss), foreign keys, transactions that start with
    ``BEGIN IMMEDIATE`` unless opened by ``reading``. PostgreSQL: READ COMMITTED, ``synchronous_commit`` at least
    ``on``, time-outs for statements, locks and idle transactions. ``by_key``: the planner goes by an index where one
    serves and looks at each batch anew; with statistics from before a burst, or a plan kept for batches of any size,
    it would else read whole tables.
    """
    parsed = parse_store_url(url)
    if parsed.drivername == SQLITE:
        _require_folder(parsed)
        engine = create_async_engine(
            parsed,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout.total_seconds(),
            connect_args={"timeout": lock_timeout.total_seconds()},
        )
        govern_sqlite(engine.sync_engine)
        return engine
    settings = {
        "statement_timeout": _milliseconds(statement_timeout),
        "lock_timeout": _milliseconds(lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(idle_timeout),
        "synchronous_commit": "on",
        "timezone": "UTC",
    }
    if by_key:
        # Turned off, a way of reading still counts, at an absurd price: one that would have plans compiled.
        settings |= {"enable_seqscan": "off", "plan_cache_mode": "force_custom_plan", "jit": "off"}
    return create_async_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout.total_seconds(),
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "options": postgres_options(settings)},
    )


def _require_folder(url: URL) -> None:
    """SQLite makes the file but not the folder, and its driver tells neither."""
    folder = Path(url.database or "").parent
    if not folder.is_dir():
        raise StoreUrlFault(f"the folder {folder} of the SQLite store does not exist; make it or mend the URL")


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction that may write; committed at the end, rolled back on any exception."""
    async with engine.begin() as connection:
        yield connection


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction that only reads; on SQLite it does not wait for the writer."""
    async with engine.connect() as connection:
        yield await connection.execution_options(**{_READ_ONLY: True})


@contextmanager
def busy_is_refused() -> Iterator[None]:
    """Turns "busy", "timed out" and "out of reach" into ``DomainError(STORE_BUSY)``; other errors are bugs and pass.

    The outcome of a transaction that ends this way is *unknown* when it broke at its commit: request ids settle it.
    """
    try:
        yield
    except PoolTimeout as error:
        raise DomainError(Reason.STORE_BUSY) from error
    except DBAPIError as error:
        if means_busy(error):
            raise DomainError(Reason.STORE_BUSY) from error
        raise


def means_busy(error: DBAPIError) -> bool:
    """Whether the same statement may succeed later: locks, time-outs, deadlocks, a server out of reach, a full disk."""
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in _BUSY_IN_SQLITE
    return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated


def sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's code of the error, e.g. ``40P01``; ``None`` on SQLite."""
    return getattr(error.orig, "sqlstate", None)


def stands_already(error: IntegrityError) -> bool:
    """Whether an insert met a row that uniqueness or an exclusion rule keeps it from joining."""
    return sqlstate(error) in _TAKEN_IN_POSTGRES or getattr(error.orig, "sqlite_errorcode", None) in _TAKEN_IN_SQLITE


def postgres_options(settings: dict[str, str]) -> str:
    """Session settings as libpq's ``options``."""
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def govern_sqlite(engine: Engine) -> None:
    """Make SQLite durable and its transactions explicit on every connection of ``engine``."""

    @event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401  the driver's own type
        # The driver must not open transactions by itself: the "begin" hook below says how each one starts.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "invalidate")
    def _give_up(connection: Any, _record: object, _error: object) -> None:  # noqa: ANN401
        # A call that was cancelled leaves its statement open. SQLite then keeps the closed connection, and the
        # write lock with it, for as long as anything refers to that statement: nobody could write any more.
        driver: Any = getattr(connection, "_connection", None)
        if getattr(driver, "_connection", None) is not None:
            driver._tx.put_nowait((None, driver._conn.rollback))  # noqa: SLF001  the driver's own queue, in order

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get(_READ_ONLY, False)
        # A transaction that starts reading and then writes can fail at once as "locked"; IMMEDIATE waits instead.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _milliseconds(duration: timedelta) -> str:
    return str(int(duration.total_seconds() * 1000))
