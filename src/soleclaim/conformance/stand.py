"""What a case plays on: clients, the native side, handles of what can be stopped; and the questions cases share."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from soleclaim.api.common.v1.types_pb2 import Declaration
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.lookup.v1.event_service_pb2 import Event
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import LookupClient, RegistryClient, RemoteRefusal, RemoteUnavailable, TlsFiles
from soleclaim.conformance.fixture import Fixture, Project
from soleclaim.conformance.model import Failed, Need, Skipped, Text
from soleclaim.conformance.native_side import NativeSide, Record
from soleclaim.core.errors import Reason
from soleclaim.core.period import Period
from soleclaim.rpc.parse import to_interval
from soleclaim.rpc.status import from_status

FINAL: Final = (pb.ISSUANCE_STATE_ISSUED, pb.ISSUANCE_STATE_REFUSED)
DECLARED: Final = Declaration(no_other_application=True, no_claim_after_transfer=True)
POLL_S: Final = 0.1

_Result = TypeVar("_Result")


class Stoppable(Protocol):
    """Something the kit may end and start again at the same place: the adapter, the lookup."""

    async def kill(self) -> None:
        """End it at once."""

    async def start(self) -> None:
        """Start it and return when it answers."""


@dataclass(frozen=True, slots=True)
class Identities:
    """Certificate files of everybody the kit plays. ``stranger`` is of an authority that nobody trusts."""

    operator: TlsFiles
    stranger: TlsFiles
    peer: TlsFiles | None
    regulator: TlsFiles | None


@dataclass(frozen=True, slots=True)
class Spot:
    """A project and a period with ``units`` to issue, given to one case alone."""

    project: Project
    period: Period
    units: int


@dataclass
class Stand:
    """``run`` starts every request id. ``info`` is what GetRegistry answered; ``told`` the final answers, by name."""

    run: str
    fixture: Fixture
    target: str
    identities: Identities
    operator: RegistryClient
    lookup: LookupClient
    native: NativeSide
    peer: RegistryClient | None = None
    peer_lookup: LookupClient | None = None
    regulator: RegistryClient | None = None
    adapter: Stoppable | None = None
    stoppable_lookup: Stoppable | None = None
    info: pb.RegistryInfo = field(default_factory=pb.RegistryInfo)
    told: dict[str, pb.Issuance] = field(default_factory=dict)
    restarts: int = 0
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _spots: dict[str, list[Spot]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Lay out the spots."""
        for project in self.fixture.projects:
            self._spots[project.id] = [
                Spot(project, outcome.period(self.fixture.zone), outcome.units) for outcome in project.outcomes
            ]

    def offers(self) -> set[Need]:
        """Which needs are met here."""
        met = self.native.offers() | {Need.ISSUES if self.info.instruments else Need.ISSUES_NOTHING}
        given = {
            Need.PEER: self.peer and self.peer_lookup,
            Need.REGULATOR: self.regulator,
            Need.RESTART: self.adapter,
            Need.LOOKUP_RESTART: self.stoppable_lookup,
        }
        return met | {need for need, part in given.items() if part is not None}

    # -- What is asked for --------------------------------------------------------------------------------------

    def request_id(self) -> str:
        """A new one."""
        return f"{self.run}-{next(self._numbers):04d}"

    def spot(self) -> Spot:
        """One that no case has had; of a project with the fewest left, so that pairs stay."""
        left = [spots for spots in self._spots.values() if spots]
        if not left:
            raise Skipped("the fixture has no unused outcome left", "测试设定中已无未用的减排成果")
        return min(left, key=len).pop(0)

    def fresh(self) -> Spot:
        """One of a project that no case has had."""
        for project in self.fixture.projects:
            spots = self._spots[project.id]
            if spots and len(spots) == len(project.outcomes):
                return spots.pop(0)
        raise Skipped("the fixture has no unused project left", "测试设定中已无未用的项目")

    def pair(self) -> tuple[Spot, Spot]:
        """Two of one project that no case has had."""
        for spots in self._spots.values():
            if len(spots) >= 2:
                return spots.pop(0), spots.pop(0)
        raise Skipped("the fixture has no project with two unused outcomes left", "测试设定中已无含两项未用成果的项目")

    def unmeasured(self) -> Period:
        """A period for which nothing is measured."""
        return self.fixture.unmeasured.period(self.fixture.zone)

    def order(
        self,
        spot: Spot,
        *,
        units: int | None = None,
        period: Period | None = None,
        project_id: str = "",
        declaration: Declaration = DECLARED,
    ) -> pb.RequestIssuanceRequest:
        """An order for a spot, without request id; ``units`` None: all of them."""
        return pb.RequestIssuanceRequest(
            native_project_id=project_id or spot.project.id,
            period=to_interval(period or spot.period),
            units=spot.units if units is None else units,
            declaration=declaration,
        )

    def identified(self, order: pb.RequestIssuanceRequest, request_id: str = "") -> pb.RequestIssuanceRequest:
        """The order with a request id, a new one by default."""
        request = pb.RequestIssuanceRequest()
        request.CopyFrom(order)
        request.request_id = request_id or self.request_id()
        return request

    # -- Asking -------------------------------------------------------------------------------------------------

    async def request(self, order: pb.RequestIssuanceRequest) -> pb.Issuance:
        """RequestIssuance, again with the same request id while its result is unknown."""
        request = order if order.request_id else self.identified(order)
        call = self.operator.registry.RequestIssuance
        return await self._patiently(
            lambda: self.operator.call(call, request, timeout_s=self.fixture.patience_s), "RequestIssuance"
        )

    async def batch(self, orders: Sequence[pb.RequestIssuanceRequest], request_id: str = "") -> list[pb.Issuance]:
        """BatchRequestIssuances, as ``request``, waiting until all is settled."""
        request = pb.BatchRequestIssuancesRequest(request_id=request_id or self.request_id(), requests=orders)
        call = self.operator.registry.BatchRequestIssuances
        answer = await self._patiently(
            lambda: self.operator.call(call, request, timeout_s=self.fixture.patience_s), "BatchRequestIssuances"
        )
        return [await self.settled(each) for each in answer.issuances]

    async def get(self, name: str) -> pb.Issuance:
        """GetIssuance."""
        call, request = self.operator.registry.GetIssuance, pb.GetIssuanceRequest(name=name)
        return await self._patiently(lambda: self.operator.call(call, request), f"GetIssuance({name})")

    async def settled(self, issuance: pb.Issuance) -> pb.Issuance:
        """The issuance once it is ISSUED or REFUSED; ``Failed`` when that takes longer than the fixture's patience."""
        now = issuance

        async def final() -> pb.Issuance | None:
            nonlocal now
            if now.state not in FINAL:
                now = await self.get(now.name)
            return now if now.state in FINAL else None

        settled = await self.until(
            final, lambda: Text(f"{now.name} is {state_of(now)}", f"{now.name} 为 {state_of(now)}")
        )
        self.told[settled.name] = settled
        return settled

    async def until(self, probe: Callable[[], Awaitable[_Result | None]], so_far: Callable[[], Text]) -> _Result:
        """What ``probe`` gives once it gives something; ``Failed`` when the fixture's patience ends before."""
        deadline = asyncio.get_running_loop().time() + self.fixture.patience_s
        while (found := await probe()) is None:
            if asyncio.get_running_loop().time() > deadline:
                waited, text = f"{self.fixture.patience_s:.0f}", so_far()
                raise Failed(f"{text.en} after {waited} s", f"{waited} 秒后：{text.zh}")
            await asyncio.sleep(POLL_S)
        return found

    async def ended(self, order: pb.RequestIssuanceRequest) -> pb.Issuance:
        """Ask, and wait until settled."""
        return await self.settled(await self.request(order))

    async def issued(self, order: pb.RequestIssuanceRequest) -> pb.Issuance:
        """Ask, wait until settled, and insist that it is ISSUED."""
        return must_be_issued(await self.ended(order))

    async def refused(self, order: pb.RequestIssuanceRequest, *reasons: Reason) -> RemoteRefusal:
        """Ask, wait until settled, and insist that it is REFUSED for one of these reasons."""
        return must_be_refused(await self.ended(order), *reasons)

    async def listed(
        self, conditions: pb.ListIssuancesRequest | None = None, *, page_size: int = 1000
    ) -> list[pb.Issuance]:
        """All pages of ListIssuances."""
        request = pb.ListIssuancesRequest(page_size=page_size)
        request.MergeFrom(conditions or request)
        found: list[pb.Issuance] = []
        while True:
            page = await self._patiently(
                lambda: self.operator.call(self.operator.registry.ListIssuances, request), "ListIssuances"
            )
            must(
                len(page.issuances) <= page_size,
                f"a page of {len(page.issuances)} where {page_size} was asked for",
                f"要求每页 {page_size} 项，却返回 {len(page.issuances)} 项",
            )
            found += page.issuances
            if not page.next_page_token:
                return found
            must(bool(page.issuances), "an empty page that is not the last", "出现非末页的空页")
            request.page_token = page.next_page_token

    async def lock(self, name: str) -> lock_pb.IssuanceLock:
        """The lock at the lookup."""
        return await self.lookup.call(self.lookup.locks.GetIssuanceLock, lock_pb.GetIssuanceLockRequest(name=name))

    async def locks_on(self, spot: Spot) -> list[lock_pb.IssuanceLock]:
        """The target's locks whose period overlaps the spot's, with its project's activity where it is known."""
        request = lock_pb.ListIssuanceLocksRequest(
            page_size=1000, registry=self.fixture.registry, period=to_interval(spot.period)
        )
        answer = await self.lookup.call(self.lookup.locks.ListIssuanceLocks, request)
        return list(answer.issuance_locks)

    async def until_begun(self, known: Iterable[str], spot: Spot) -> lock_pb.IssuanceLock:
        """Wait until a lock over the spot's period, not one of ``known``, is ISSUING: the native call is due."""

        async def begun() -> lock_pb.IssuanceLock | None:
            new = (lock for lock in await self.locks_on(spot) if lock.name not in known)
            return next((lock for lock in new if lock.state == lock_pb.ISSUANCE_LOCK_STATE_ISSUING), None)

        return await self.until(begun, lambda: Text("not begun at the lookup", "查询中心未见开始签发"))

    async def native_at(self, spot: Spot) -> list[Record]:
        """What stands natively for the spot."""
        return [each for each in await self.native.records(spot.project.id) if each.period == spot.period]

    async def until_native_at(self, spot: Spot) -> None:
        """Wait until the native registry has issued there."""

        async def there() -> list[Record] | None:
            return await self.native_at(spot) or None

        await self.until(there, lambda: Text("nothing issued natively", "原系统未签发"))

    async def events(self) -> list[Event]:
        """Everything the lookup's stream tells of the target until now."""
        return [
            response.event
            async for response in self.lookup.watch(until_now=True)
            if response.event.registry == self.fixture.registry
        ]

    async def _patiently(self, call: Callable[[], Awaitable[_Result]], what: str) -> _Result:
        deadline = asyncio.get_running_loop().time() + self.fixture.patience_s
        while True:
            try:
                return await call()
            except RemoteRefusal as refusal:
                # "Not now" (a twin that stands by, too many calls) is no answer to the request.
                if refusal.code != "UNAVAILABLE" or asyncio.get_running_loop().time() > deadline:
                    raise Failed(f"{what} was refused: {refusal}", f"{what} 被拒：{refusal.message_zh}") from refusal
            except RemoteUnavailable as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise Failed(f"{what} got no answer: {error}", f"{what} 无应答：{error}") from error
            await asyncio.sleep(POLL_S)


# -- What came back ----------------------------------------------------------------------------------------------------


def must(condition: bool, en: str, zh: str) -> None:
    """``Failed`` with these texts unless it is so."""
    if not condition:
        raise Failed(en, zh)


def given(part: _Result | None) -> _Result:
    """A part of the stand that the case needs: without it the case is skipped, and not played."""
    if part is None:
        raise AssertionError("a case is played that misses what it needs")
    return part


def state_of(issuance: pb.Issuance) -> str:
    """Its state without the enum's prefix, with the reason when it was refused."""
    name = pb.IssuanceState.Name(issuance.state).removeprefix("ISSUANCE_STATE_")
    return f"{name} {reason_name(from_status(issuance.error))}" if issuance.HasField("error") else name


def reason_name(refusal: RemoteRefusal) -> str:
    """The reason, or the gRPC code where it names none that is known."""
    return refusal.reason.value if refusal.reason else f"{refusal.code} without a known reason"


def must_be_issued(issuance: pb.Issuance) -> pb.Issuance:
    """``Failed`` unless it is ISSUED."""
    must(
        issuance.state == pb.ISSUANCE_STATE_ISSUED,
        f"{issuance.name} is {state_of(issuance)}, not ISSUED: {_why(issuance).message_en}",
        f"{issuance.name} 为 {state_of(issuance)}，而非 ISSUED：{_why(issuance).message_zh}",
    )
    return issuance


def must_be_refused(issuance: pb.Issuance, *reasons: Reason) -> RemoteRefusal:
    """``Failed`` unless it is REFUSED for one of the reasons, any when none is given; the refusal."""
    refusal = _why(issuance)
    wanted = " / ".join(reason.value for reason in reasons) or "any reason"
    fits = refusal.reason in reasons if reasons else refusal.reason is not None
    must(
        issuance.state == pb.ISSUANCE_STATE_REFUSED and fits,
        f"{issuance.name} is {state_of(issuance)}, not REFUSED {wanted}",
        f"{issuance.name} 为 {state_of(issuance)}，而非 REFUSED {wanted}",
    )
    return refusal


def _why(issuance: pb.Issuance) -> RemoteRefusal:
    return from_status(issuance.error)


async def refusal_of(call: Awaitable[_Result], *reasons: Reason) -> RemoteRefusal:
    """The refusal of a call; ``Failed`` when it was accepted, not answered, or refused for another reason."""
    try:
        answer = await call
    except RemoteRefusal as refusal:
        wanted = " / ".join(reason.value for reason in reasons)
        must(
            refusal.reason in reasons,
            f"refused with {reason_name(refusal)}, not {wanted}",
            f"拒绝原因为 {reason_name(refusal)}，而非 {wanted}",
        )
        return refusal
    except RemoteUnavailable as error:
        raise Failed(f"no answer instead of a refusal: {error}", f"无应答而非拒绝：{error}") from error
    told = " ".join(str(answer).split())[:200]
    raise Failed(f"it was accepted: {told}", f"请求被接受：{told}")
