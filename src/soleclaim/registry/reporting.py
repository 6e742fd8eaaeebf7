"""Passes on to the lookup what the native registry states, over and over: of its cap or market, or what it settled.

Everything is sent each time, in the registry's order: the lookup knows a statement by its id, and answers a batch that
it knows whole with its first answer. So nothing has to be remembered here, and a lookup that lost what it had gets it
again.
"""

import asyncio
import hashlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import ClassVar, Final, Generic, TypeVar

from prometheus_client import Gauge

from soleclaim.core.errors import DomainError
from soleclaim.registry.domain import Refusal
from soleclaim.registry.lease import LeaseKeeper
from soleclaim.registry.lookup import CoverageLookup, LookupUnavailable, Settled, SettlementLookup
from soleclaim.registry.native import (
    CoverageSource,
    NativeCoverage,
    NativeSettlement,
    NativeUnavailable,
    SettlingRegistry,
)

_LOG = logging.getLogger(__name__)

BATCH: Final = 1000
"""Statements of one call."""
RETRY_S: Final = 30.0
"""How soon a report that was not complete is tried again."""
_POLL_S: Final = 1.0

AGE: Final = Gauge(
    "soleclaim_registry_coverage_report_age_seconds",
    "Since the last time that the lookup answered for every statement of coverage, or since the start",
    ["registry"],
)
REFUSED: Final = Gauge(
    "soleclaim_registry_coverage_refused",
    "Statements of coverage that the lookup refused in the last report",
    ["registry"],
)
SETTLEMENT_AGE: Final = Gauge(
    "soleclaim_registry_settlement_report_age_seconds",
    "Since the last time that the lookup answered for every settlement line, or since the start",
    ["registry"],
)
SETTLEMENT_REFUSED: Final = Gauge(
    "soleclaim_registry_settlement_refused",
    "Settlement lines that the lookup refused in the last report",
    ["registry"],
)
SETTLEMENT_OPEN: Final = Gauge(
    "soleclaim_registry_settlement_open",
    "Settlement lines that contradict another or whose certificates are not known, as of the last report",
    ["registry"],
)

_Told = TypeVar("_Told")


class Report(ABC, Generic[_Told]):
    """Reports while this process has the lease: at once, then every ``every_s`` seconds, sooner after a failure."""

    what: ClassVar[str]
    """What is reported, for request ids and people."""
    one: ClassVar[str]
    """One of it, for people."""
    age: ClassVar[Gauge]
    refused: ClassVar[Gauge]

    def __init__(self, registry: str, keeper: LeaseKeeper, *, every_s: float) -> None:
        self._registry = registry
        self._keeper = keeper
        self._every_s = every_s
        self._complete = time.monotonic()
        self._failing = False
        self._refused: dict[str, str] = {}
        """By id: why, as it was logged last."""

    @abstractmethod
    def _list(self) -> AsyncIterator[_Told]:
        """All that the native registry states."""

    @abstractmethod
    def _id_of(self, told: _Told) -> str: ...

    @abstractmethod
    async def _record(self, request_id: str, batch: Sequence[_Told]) -> Sequence[Refusal | None]: ...

    def _asks_anew(self, told: _Told) -> bool:
        """Whether the answer to it may be another one by now, with the same content."""
        return self._id_of(told) in self._refused

    async def run(self) -> None:
        """Keep going until cancelled."""
        due = time.monotonic()
        while True:
            if self._keeper.active and time.monotonic() >= due:
                is_complete = await self.step()
                due = time.monotonic() + (self._every_s if is_complete else min(self._every_s, RETRY_S))
            self.age.labels(self._registry).set(time.monotonic() - self._complete)
            await asyncio.sleep(min(_POLL_S, self._every_s))

    async def step(self) -> bool:
        """Report everything once; whether the lookup answered for all of it. Refusals are answers."""
        refused: dict[str, str] = {}
        try:
            async for batch in self._batches():
                self._keeper.current()
                answers = await self._record(self._request_id(batch), batch)
                for told, refusal in zip(batch, answers, strict=True):
                    if refusal is not None:
                        refused[self._id_of(told)] = refusal.error().message_en
        except (NativeUnavailable, LookupUnavailable, DomainError) as error:
            if not self._failing:
                _LOG.warning("registry %s: %s not reported, trying on: %s", self._registry, self.what, error)
            self._failing = True
            return False
        for told_id, why in refused.items():
            if self._refused.get(told_id) != why:
                _LOG.error("registry %s: the lookup refused %s %s: %s", self._registry, self.one, told_id, why)
        if self._failing:
            _LOG.info("registry %s: %s reported again", self._registry, self.what)
        self._failing, self._refused, self._complete = False, refused, time.monotonic()
        self.refused.labels(self._registry).set(len(refused))
        return True

    async def _batches(self) -> AsyncIterator[list[_Told]]:
        """What came before the list broke off is a fact all the same, and is passed on first."""
        batch: list[_Told] = []
        broken: NativeUnavailable | None = None
        try:
            async for told in self._list():
                batch.append(told)
                if len(batch) == BATCH:
                    yield batch
                    batch = []
        except NativeUnavailable as error:
            broken = error
        if batch:
            yield batch
        if broken is not None:
            raise broken

    def _request_id(self, batch: Sequence[_Told]) -> str:
        """Of the content: the same statements are the same request, also after a restart.

        A request repeats its answers. So a batch whose answers may be others by now is asked anew, once a day.
        """
        content = hashlib.sha256(repr(batch).encode()).hexdigest()[:40]
        if not any(self._asks_anew(each) for each in batch):
            return f"{self.what}-{content}"
        return f"{self.what}-{content}-{datetime.now(UTC):%Y%m%d}"


class CoverageReport(Report[NativeCoverage]):
    """Who is inside the cap or market."""

    what, one = "coverage", "statement"
    age, refused = AGE, REFUSED

    def __init__(
        self, registry: str, source: CoverageSource, lookup: CoverageLookup, keeper: LeaseKeeper, *, every_s: float
    ) -> None:
        super().__init__(registry, keeper, every_s=every_s)
        self._source = source
        self._lookup = lookup

    def _list(self) -> AsyncIterator[NativeCoverage]:
        return self._source.list_coverage()

    def _id_of(self, told: NativeCoverage) -> str:
        return told.statement_id

    async def _record(self, request_id: str, batch: Sequence[NativeCoverage]) -> Sequence[Refusal | None]:
        return await self._lookup.record_coverage(request_id, batch)


class SettlementReport(Report[NativeSettlement]):
    """Which certificates moved with which power. Stations are registered first, so that lines have an activity."""

    what, one = "settlements", "line"
    age, refused = SETTLEMENT_AGE, SETTLEMENT_REFUSED

    def __init__(
        self, registry: str, source: SettlingRegistry, lookup: SettlementLookup, keeper: LeaseKeeper, *, every_s: float
    ) -> None:
        super().__init__(registry, keeper, every_s=every_s)
        self._source = source
        self._lookup = lookup
        self._stations: set[str] = set()
        """Those that stand at the lookup."""
        self._open: set[str] = set()
        """Lines that contradict another, or whose certificates were not known."""

    def _list(self) -> AsyncIterator[NativeSettlement]:
        return self._source.list_settlements()

    def _id_of(self, told: NativeSettlement) -> str:
        return told.settlement_id

    def _asks_anew(self, told: NativeSettlement) -> bool:
        return told.settlement_id in self._open or super()._asks_anew(told)

    async def _record(self, request_id: str, batch: Sequence[NativeSettlement]) -> Sequence[Refusal | None]:
        for station in sorted({each.native_project_id for each in batch} - self._stations):
            await self._register(station)
        answers = await self._lookup.record_settlements(request_id, batch)
        for line, answer in zip(batch, answers, strict=True):
            if answer is Settled.YES:
                self._open.discard(line.settlement_id)
            elif answer is Settled.NOT_YET:
                self._open.add(line.settlement_id)
        SETTLEMENT_OPEN.labels(self._registry).set(len(self._open))
        return [answer if isinstance(answer, Refusal) else None for answer in answers]

    async def _register(self, station: str) -> None:
        """One that cannot be registered (yet) stops no line: a line is a fact without an activity too."""
        try:
            project = await self._source.get_project(station)
        except NativeUnavailable as error:
            _LOG.warning("registry %s: station %s is not registered yet: %s", self._registry, station, error)
            return
        if project is None:
            return
        content = hashlib.sha256(repr(project).encode()).hexdigest()[:40]
        [answer] = await self._lookup.register(f"station-{content}-{datetime.now(UTC):%Y%m%d}", [project])
        if isinstance(answer, Refusal):
            message = answer.error().message_en
            _LOG.warning("registry %s: station %s is not registered: %s", self._registry, station, message)
        else:
            self._stations.add(station)
