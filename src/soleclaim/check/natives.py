"""What stands in a native registry, laid down on disk in the order of references."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from soleclaim.check.findings import CannotLook
from soleclaim.check.source import Row
from soleclaim.core.instants import to_us
from soleclaim.natives import NativeSettings, open_native
from soleclaim.registry.native import NativeIssuance, NativeRegistry, NativeUnavailable

CALL_LIMIT_S: Final = 30.0
BY_NATIVE_ID: Final = "native id "
"""Begins the key of an issuance that has no reference, since it is older than the gateway. No reference has a space."""


class NativeTarget(NamedTuple):
    """A native registry: which client speaks to it, and where it answers."""

    kind: str
    url: str
    key_id: str | None = None
    secret_file: Path | None = None

    def open(self, registry: str) -> NativeRegistry:
        """A client that only reads."""
        return open_native(
            self.kind,
            NativeSettings(
                registry=registry,
                url=self.url,
                timeout_s=CALL_LIMIT_S,
                longest_under_way_s=0,
                key_id=self.key_id,
                secret_file=self.secret_file,
            ),
        )


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
        native = self._target.open(self.registry)
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
        native = self._target.open(self.registry)
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
    # An archive has nothing but its own id to know an issuance by, and gives it as reference too.
    is_older = issuance.external_reference in ("", issuance.native_issuance_id)
    return (
        f"{BY_NATIVE_ID}{issuance.native_issuance_id}" if is_older else issuance.external_reference,
        issuance.native_issuance_id,
        issuance.fencing_token,
        to_us(issuance.period.start),
        to_us(issuance.period.end),
        issuance.units,
        blocks_text([(block.series, block.start, block.end) for block in issuance.blocks]),
    )
