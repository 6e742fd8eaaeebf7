"""The judge: what must hold when everything has settled, found out without the code that is judged.

It reads the native registries over their own HTTP APIs, the adapters and the lookup over gRPC, and lets
``soleclaim check`` look at all stores as well. What it says are complaints, each a sentence.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.check.natives import NativeTarget
from soleclaim.check.run import Targets, run_check
from soleclaim.client import RegistryClient
from tests.robustness.world import MONTH, REGISTRIES, Plant, Registry, World

FINAL: Final = (pb.ISSUANCE_STATE_ISSUED, pb.ISSUANCE_STATE_REFUSED)
_ALIVE: Final = (lock_pb.ISSUANCE_LOCK_STATE_ISSUING, lock_pb.ISSUANCE_LOCK_STATE_ISSUED)


@dataclass
class Demand:
    """What one client asked for, and every answer it got."""

    plant: Plant
    registry: Registry
    request_id: str
    answers: list[pb.Issuance] = field(default_factory=list)

    @property
    def request(self) -> pb.RequestIssuanceRequest:
        """The request, always the same."""
        return self.plant.request(self.registry, self.request_id)

    @property
    def told(self) -> str:
        """The states that were answered, for a complaint."""
        return ", ".join(pb.IssuanceState.Name(each.state) for each in self.answers) or "no answer"

    def complaints(self) -> list[str]:
        """An issuance that was once told as final is told alike for ever."""
        final = [each for each in self.answers if each.state in FINAL]
        if not final:
            return [f"{self.request_id}: never got a final answer"]
        if any(each != final[0] for each in final[1:]):
            return [f"{self.request_id}: the final answer changed: {final}"]
        if self.answers[-1].state not in FINAL:
            return [f"{self.request_id}: was final and is not any more: {self.answers}"]
        return []


@dataclass(frozen=True)
class NativeRecord:
    """An issuance in a native registry."""

    registry: Registry
    reference: str
    plant: int
    month: str
    units: int


async def native_records(world: World) -> list[NativeRecord]:
    """All issuances of both native registries."""
    found = []
    async for row in _pages(world, "gec"):
        record = NativeRecord(
            "gec", row["externalReference"], int(row["filingCode"][-5:]), row["generationMonth"], row["certificates"]
        )
        found.append(record)
    async for row in _pages(world, "ccer"):
        month = f"{row['startDate'][:4]}-{row['startDate'][4:6]}"
        number = int(row["projectInfoId"][-5:])
        found.append(NativeRecord("ccer", row["externalReference"], number, month, row["issuedNum"]))
    return found


async def _pages(world: World, registry: Registry) -> Any:
    page, seen = 1, 0
    while True:
        if registry == "gec":
            answer = await world.native("gec", "GET", f"/api/v1/issuances?page={page}&size=50")
            rows = answer["items"]
        else:
            answer = await world.native("ccer", "POST", "/api/assumed/issuances", {"pageNumber": page, "pageSize": 50})
            rows = answer["dataInfo"]
        for row in rows:
            yield row
        page, seen = page + 1, seen + len(rows)
        if seen >= answer["total"] or not rows:
            return


async def issuances(client: RegistryClient, *states: "pb.IssuanceState.ValueType") -> list[pb.Issuance]:
    """All issuances of an adapter in these states (none: all)."""
    found: list[pb.Issuance] = []
    for state in states or (pb.ISSUANCE_STATE_UNSPECIFIED,):
        request = pb.ListIssuancesRequest(page_size=1000, state=state)
        while True:
            page = await client.call(client.registry.ListIssuances, request)
            found += page.issuances
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    return found


async def _locks(world: World) -> list[lock_pb.IssuanceLock]:
    found: list[lock_pb.IssuanceLock] = []
    async with world.dial_lookup() as lookup:
        request = lock_pb.ListIssuanceLocksRequest(page_size=1000)
        while True:
            page = await lookup.call(lookup.locks.ListIssuanceLocks, request)
            found += page.issuance_locks
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token


async def judge(world: World, adapters: Mapping[Registry, RegistryClient], demands: Sequence[Demand]) -> list[str]:
    """Every complaint about this world. All adapters must have come to rest before."""
    complaints: list[str] = []
    natives = await native_records(world)
    complaints += _twice(natives)
    for demand in demands:
        complaints += demand.complaints()
    for registry, client in adapters.items():
        complaints += _lost(registry, [each for each in natives if each.registry == registry], demands)
        entries = await issuances(client)
        complaints += _disagreeing(registry, natives, entries)
    complaints += _unlocked(natives, await _locks(world))
    journals: dict[str, str] = {registry: world.urls[registry] for registry in REGISTRIES}
    systems: dict[str, NativeTarget] = {
        registry: NativeTarget(registry, url) for registry, url in world.natives.items()
    }
    findings = await run_check(Targets(world.urls["lookup"], journals, systems))
    complaints += [f"check: {each.invariant} {each.told('en')}" for each in findings.violations]
    complaints += [f"check could not look: {each}" for each in findings.not_looked]
    return complaints


def _twice(natives: Iterable[NativeRecord]) -> list[str]:
    """Never two native issuances for one activity and month."""
    by_outcome: defaultdict[tuple[int, str], list[NativeRecord]] = defaultdict(list)
    for each in natives:
        by_outcome[each.plant, each.month].append(each)
    return [f"plant {number} {month} is issued {len(found)} times: {found}"
            for (number, month), found in by_outcome.items() if len(found) > 1]  # fmt: skip


def _lost(registry: Registry, natives: Sequence[NativeRecord], demands: Iterable[Demand]) -> list[str]:
    """No acknowledged issuance is lost."""
    standing = {each.reference: each for each in natives}
    told = []
    for demand in demands:
        for answer in demand.answers:
            if demand.registry != registry or answer.state != pb.ISSUANCE_STATE_ISSUED:
                continue
            wanted = NativeRecord(registry, answer.reference, demand.plant.number, MONTH, answer.units)
            if standing.get(answer.reference) != wanted:
                told.append(f"{demand.request_id}: acknowledged {wanted}, there is {standing.get(answer.reference)}")
    return told


def _disagreeing(registry: Registry, natives: Iterable[NativeRecord], entries: Iterable[pb.Issuance]) -> list[str]:
    """The adapter says ISSUED for exactly what stands natively, REFUSED for all else, and nothing is open."""
    issued = Counter(each.reference for each in natives if each.registry == registry)
    told = []
    for entry in entries:
        state = pb.IssuanceState.Name(entry.state)
        if entry.state not in FINAL:
            told.append(f"{registry} {entry.reference}: still {state}")
        elif issued.pop(entry.reference, 0) != (entry.state == pb.ISSUANCE_STATE_ISSUED):
            told.append(f"{registry} {entry.reference}: the adapter says {state}, the native registry something else")
    return told + [f"{registry} {reference}: issued natively, unknown to the adapter" for reference in issued]


def _unlocked(natives: Iterable[NativeRecord], locks: Iterable[lock_pb.IssuanceLock]) -> list[str]:
    """No native issuance without a lock in ISSUING or ISSUED; and when all is settled, nothing is ISSUING."""
    covered = set()
    told = []
    for lock in locks:
        if lock.state in _ALIVE:
            covered |= {(lock.registry, lock.reference), *((lock.registry, each.reference) for each in lock.issuances)}
        if lock.state == lock_pb.ISSUANCE_LOCK_STATE_ISSUING:
            told.append(f"{lock.name} of {lock.registry} for {lock.reference} is still ISSUING")
    told += [f"{each} has no lock" for each in natives if (each.registry, each.reference) not in covered]
    return told
