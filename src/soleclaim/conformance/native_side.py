"""The native side as the kit sees it: what stands there, and faults that can be switched on."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import httpx

from soleclaim.conformance.fixture import FAULTS, Faults, Fixture
from soleclaim.conformance.model import Failed, Need
from soleclaim.core.period import Period
from soleclaim.natives import NativeSettings, open_native
from soleclaim.natives.civil import period_of_days
from soleclaim.registry.native import NativeRegistry

TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Record:
    """An issuance that stands in the native registry."""

    reference: str
    fencing_token: int
    period: Period
    units: int


class NativeSide:
    """Looks past the adapter, at the registry itself."""

    def __init__(self, fixture: Fixture) -> None:
        self._fixture = fixture
        self._native = fixture.native
        self._client = _open(fixture)

    def offers(self) -> set[Need]:
        """What of the needs is met."""
        met = {Need[name.upper()] for name in FAULTS if self._native.faults and getattr(self._native.faults, name)}
        if self._client is not None or self._native.issuances_url:
            met.add(Need.NATIVE_RECORDS)
        return met

    async def records(self, project_id: str) -> list[Record]:
        """All issuances of a project; ``NativeUnavailable`` or ``httpx.HTTPError`` when they cannot be read."""
        if self._client is not None:
            # Not ``find``: a registry that does not guard references may hold two with one.
            return [
                Record(each.external_reference, each.fencing_token, each.period, each.units)
                async for each in self._client.list_issuances()
                if each.native_project_id == project_id
            ]
        url = (self._native.issuances_url or "").replace("{project}", project_id)
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as http:
            answer = (await http.get(url)).raise_for_status().json()
        return [self._record(row) for row in answer["issuances"]]

    def _record(self, row: dict[str, Any]) -> Record:
        first, last = (date.fromisoformat(str(row[key])) for key in ("first", "last"))
        period = period_of_days(first, last, self._fixture.zone)
        return Record(str(row["reference"]), int(row["fencing_token"]), period, int(row["units"]))

    @asynccontextmanager
    async def fault(self, *names: str) -> AsyncIterator[None]:
        """These faults, switched on in this order; all are off when the block ends."""
        faults = self._native.faults
        if faults is None:
            raise Failed("the fixture has no faults", "测试设定中没有故障")
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as http:
            await _switch_on(http, faults, names)
            try:
                yield
            finally:
                (await http.delete(faults.url)).raise_for_status()

    async def close(self) -> None:
        """Release connections."""
        if self._client is not None:
            await self._client.close()


def _open(fixture: Fixture) -> NativeRegistry | None:
    native = fixture.native
    if native.kind is None or native.url is None:
        return None
    settings = NativeSettings(
        registry=fixture.registry,
        url=native.url,
        timeout_s=TIMEOUT_S,
        # The kit only reads: nothing of it is ever under way.
        longest_under_way_s=1,
        key_id=native.key_id,
        secret_file=native.secret_file,
    )
    return open_native(native.kind, settings)


async def _switch_on(http: httpx.AsyncClient, faults: Faults, names: Sequence[str]) -> None:
    for name in names:
        (await http.post(faults.url, json=getattr(faults, name))).raise_for_status()
