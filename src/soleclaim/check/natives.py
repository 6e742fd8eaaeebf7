"""What stands in a native registry, laid down on disk in the order of references."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from soleclaim.check.findings import CannotLook
from soleclaim.check.source import Row
from soleclaim.natives import open_native
from soleclaim.registry.native import NativeIssuance, NativeUnavailable

CALL_LIMIT_S: Final = 30.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class NativeTarget(NamedTuple):
    """A native registry: which client speaks to it, and where it answers."""

    kind: str
    url: str


class NativeCopy:
    """All issuances of one native registry as they were when it was read; kept in a file, not in memory."""

    def __init__(self, registry: str, target: NativeTarget, directory: Path) -> None:
        self.registry = registry
        self._target = target
        self._db = sqlite3.connect(directory / f"native-{registry}.db", isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(
            "CREATE TABLE issuance (reference TEXT, native_id TEXT, token INTEGER, start_us INTEGER, end_us INTEGER,"
            " units INTEGER, blocks TEXT)"
        )

    async def read(self) -> None:
        """List the registry to its end; ``CannotLook`` when it does not answer, or its counts do not agree."""
        native = open_native(*self._target, timeout_s=CALL_LIMIT_S, longest_under_way_s=0)
        self._db.execute("BEGIN")
        try:
            async for issuance in native.list_issuances():
                self._db.execute("INSERT INTO issuance VALUES (?, ?, ?, ?, ?, ?, ?)", _row(issuance))
        except NativeUnavailable as error:
            raise CannotLook(f"native registry {self.registry} at {self._target.url}: {error}") from error
        finally:
            await native.close()
        self._db.execute("CREATE INDEX by_reference ON issuance (reference, native_id)")
        self._db.execute("COMMIT")

    def rows(self) -> Iterator[Row]:
        """(reference, native id, token, start, end, units, blocks), in byte order of the reference."""
        yield from self._db.execute("SELECT * FROM issuance ORDER BY reference, native_id")

    async def stands_now(self, reference: str) -> bool:
        """Whether the registry has the reference now: what was committed after it was read is no violation."""
        native = open_native(*self._target, timeout_s=CALL_LIMIT_S, longest_under_way_s=0)
        try:
            return await native.find(reference) is not None
        except NativeUnavailable as error:
            raise CannotLook(f"native registry {self.registry} at {self._target.url}: {error}") from error
        finally:
            await native.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def blocks_text(blocks: list[tuple[str, int, int]]) -> str:
    """Serial ranges in one comparable form."""
    return json.dumps(sorted(blocks), ensure_ascii=False)


def _row(issuance: NativeIssuance) -> Row:
    return (
        issuance.external_reference,
        issuance.native_issuance_id,
        issuance.fencing_token,
        (issuance.period.start - _EPOCH) // _MICROSECOND,
        (issuance.period.end - _EPOCH) // _MICROSECOND,
        issuance.units,
        blocks_text([(block.series, block.start, block.end) for block in issuance.blocks]),
    )
