"""Issuance locks: policy, the exclusion rule, supplements, and why a state change was refused (design section 3)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from soleclaim.core.activity_id import ActivityId, ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.instants import to_instant
from soleclaim.core.serials import UnitBlock, total
from soleclaim.lookup.domain import (
    Abortion,
    Claim,
    Commitment,
    GrantRef,
    Lock,
    LockRequest,
    LockState,
    Obstacle,
)
from soleclaim.lookup.ports import Moved, Reader, SerialConflict, Standing, Transaction
from soleclaim.lookup.service.boundaries import Inside, inside
from soleclaim.lookup.service.measured import exceeding
from soleclaim.policy.bundle import Bundle

RETRY_AFTER: Final = timedelta(seconds=5)
"""When to try again while another lock is under way."""

_NO_STANDING: Final = (Reason.ACTIVITY_UNKNOWN, Reason.ACTIVITY_MERGED, Reason.ACTIVITY_NOT_REGISTERED)

T = TypeVar("T", GrantRef, Commitment, Abortion)


async def acquire(
    transaction: Transaction, bundle: Bundle, requests: Sequence[LockRequest]
) -> list[Lock | DomainError]:
    """Grant each request or say why not, in order. All of one registry."""
    answers: dict[int, Lock | DomainError] = {}
    claims: dict[int, Claim] = {}
    earlier = _Earlier()
    await transaction.bar_outcome_changes()
    keys = [each.activity_key for each in requests]
    standing = await transaction.standing(requests[0].registry, keys, covering=bundle.boundary_of)
    refused = await inside(transaction, bundle, requests, standing)
    for i, request in enumerate(requests):
        claim, faults = _claim(bundle, request, standing, refused.get(i, ()))
        if faults:
            answers[i] = faults[0]
        elif (other := earlier.contradicted_by(i, claim)) is not None:
            answers[i] = DomainError(Reason.CONTRADICTS_BATCH_ITEM, item=other)
        else:
            claims[i] = claim
    contested = [i for i, one in claims.items() if standing[one.request.activity_key].disputed]
    if contested:
        for i, fault in zip(contested, await _disputed(transaction, [claims[i] for i in contested]), strict=True):
            if fault is not None:
                answers[i] = fault
                del claims[i]
    bound = [i for i, one in claims.items() if one.request.carried_in or standing[one.request.activity_key].measured]
    if bound:
        for i, fault in zip(
            bound, await exceeding(transaction, [claims[i] for i in bound], hold=transaction), strict=True
        ):
            if fault is not None:
                answers[i] = fault
                del claims[i]
    order = list(claims)
    granted = await transaction.grant([claims[i] for i in order]) if order else []
    for i, one in zip(order, granted, strict=True):
        answers[i] = one if isinstance(one, Lock) else await _supplement_or_refuse(transaction, claims[i], one)
    return [answers[i] for i in range(len(requests))]


async def dry_run(reader: Reader, bundle: Bundle, request: LockRequest) -> list[DomainError]:
    """Every reason for which ``acquire`` would refuse now; empty: it would grant."""
    standing = await reader.standing(request.registry, [request.activity_key], covering=bundle.boundary_of)
    refused = await inside(reader, bundle, [request], standing)
    claim, reasons = _claim(bundle, request, standing, refused.get(0, ()))
    if not reasons or reasons[0].reason not in _NO_STANDING:
        reasons += [fault for fault in await _disputed(reader, [claim]) if fault is not None]
        reasons += [fault for fault in await exceeding(reader, [claim]) if fault is not None]
        (obstacles,) = await reader.obstacles([claim])
        if not _is_supplement(claim, obstacles):
            reasons += [refusal_by(claim, each) for each in obstacles]
        elif await _is_supplemented(reader, obstacles[0]):
            reasons.append(_held(obstacles[0]))
    return reasons


async def _disputed(reader: Reader, claims: Sequence[Claim]) -> list[DomainError | None]:
    """For each claim the open dispute that bars it, if one does; supplements by who holds the lock are barred too."""
    barring = await reader.disputes_barring(claims)
    return [
        DomainError(
            Reason.OUTCOME_DISPUTED,
            activity=f"activities/{claim.request.activity_id}",
            period=claim.request.period,
            dispute=f"disputes/{barring[i]}",
        )
        if i in barring
        else None
        for i, claim in enumerate(claims)
    ]


def _claim(
    bundle: Bundle,
    request: LockRequest,
    standing: Mapping[ActivityKey, Standing],
    bounds: Sequence[Inside],
) -> tuple[Claim, list[DomainError]]:
    """The claim that a request makes, and every reason against it that needs no look at the locks."""
    claim = Claim.of(bundle, request)
    refusals = _refused_by_policy(bundle, request, bounds)
    stands = standing.get(request.activity_key)
    fault = unknown_activity(request.registry, request.activity_id, stands)
    if fault is not None:
        return claim, [fault, *refusals]
    if stands is not None and stands.review_case is not None:
        # Which case, and nothing of the party whose registration opened it.
        activity = f"activities/{request.activity_id}"
        refusals.append(DomainError(Reason.IDENTITY_UNDER_REVIEW, activity=activity, case=stands.review_case))
    return claim, refusals


def _refused_by_policy(bundle: Bundle, request: LockRequest, bounds: Sequence[Inside]) -> list[DomainError]:
    """One refusal with every rule that is not met; for boundaries also whose, when and what, in the rules' order."""
    rules = [*bundle.unmet_rules(request.declaration), *(each.rule for each in bounds)]
    if not rules:
        return []
    variables = {"rules": ", ".join(rules), "bundle": bundle.version}
    if bounds:
        variables["registry"] = "; ".join(each.covering.registry for each in bounds)
        variables["period"] = "; ".join(each.period for each in bounds)
        variables["boundary"] = "; ".join(each.boundary for each in bounds)
    if any(request.instrument in bundle.boundaries[each.rule].policy_override for each in bounds):
        variables["policy_override"] = request.instrument
    return [DomainError(Reason.POLICY_REFUSED, retry_after=None, **variables)]


def unknown_activity(registry: str, activity_id: ActivityId, standing: Standing | None) -> DomainError | None:
    """Why a registry may not act on an activity, if so."""
    if standing is None or standing.country != activity_id[:2]:
        return DomainError(Reason.ACTIVITY_UNKNOWN, what=f"activities/{activity_id}")
    if standing.merged_into is not None:
        return DomainError(
            Reason.ACTIVITY_MERGED, activity=f"activities/{activity_id}", survivor=f"activities/{standing.merged_into}"
        )
    if not standing.registered:
        return DomainError(Reason.ACTIVITY_NOT_REGISTERED, registry=registry, activity=f"activities/{activity_id}")
    return None


class _Earlier:
    """The claims of a batch so far, by activity."""

    def __init__(self) -> None:
        self._claims: defaultdict[ActivityKey, list[tuple[int, Claim]]] = defaultdict(list)

    def contradicted_by(self, i: int, claim: Claim) -> int | None:
        """The earlier item that claims a part of the same outcome or remainder; without one, ``i`` joins them."""
        others = self._claims[claim.request.activity_key]
        for number, other in others:
            if claim.contradicts(other) or _may_share_remainder(claim, other) or _may_share_remainder(other, claim):
                return number
        others.append((i, claim))
        return None


def _may_share_remainder(carrying: Claim, other: Claim) -> bool:
    """Whether what ``carrying`` carries in may come out of, or through, the period of ``other``.

    Each alone may be covered and both together not; which it is shows only once the earlier period is settled.
    """
    mine, theirs = carrying.request, other.request
    return mine.carried_in > 0 and mine.instrument == theirs.instrument and theirs.period.end <= mine.period.start


def _is_supplement(claim: Claim, obstacles: Sequence[Obstacle]) -> bool:
    """Whether the only thing in the way is the registry's own issued lock on exactly this claim (design section 4)."""
    return len(obstacles) == 1 and _is_same(claim, obstacles[0]) and obstacles[0].state is LockState.ISSUED


async def _is_supplemented(reader: Reader, obstacle: Obstacle) -> bool:
    """Whether a supplement waits to begin on an issued lock."""
    now = to_instant(await reader.now_us())
    return obstacle.expire_time is not None and obstacle.expire_time > now


def _is_same(claim: Claim, obstacle: Obstacle) -> bool:
    """What is left of a lock that lost a part to a dispute is no lock on that alone: its units are for all of it."""
    return obstacle.whole and claim.is_for(obstacle)


async def _supplement_or_refuse(
    transaction: Transaction, claim: Claim, obstacles: Sequence[Obstacle]
) -> Lock | DomainError:
    if _is_supplement(claim, obstacles):
        # A commit may have come between the look at what is left and now: look again while nobody can commit.
        await transaction.hold_lock(obstacles[0].lock_id)
        (fault,) = await exceeding(transaction, [claim], hold=transaction)
        if fault is not None:
            return fault
        lock = await transaction.grant_supplement(obstacles[0].lock_id, claim)
        if lock is not None:
            return lock
        return _held(obstacles[0])
    return refusal_by(claim, obstacles[0])


def refusal_by(claim: Claim, obstacle: Obstacle) -> DomainError:
    """Names the registry, instrument, period and state that stand in the way, never the holder."""
    if obstacle.registry == claim.request.registry and not _is_same(claim, obstacle):
        return _refusal(Reason.PERIOD_OVERLAPS_OWN_LOCK, obstacle)
    if obstacle.state is LockState.ISSUED:
        return _refusal(Reason.ACTIVITY_ALREADY_ISSUED, obstacle)
    return _held(obstacle)


def _held(obstacle: Obstacle) -> DomainError:
    return _refusal(Reason.ISSUANCE_LOCK_HELD, obstacle, RETRY_AFTER)


def _refusal(reason: Reason, obstacle: Obstacle, retry_after: timedelta | None = None) -> DomainError:
    return DomainError(
        reason,
        retry_after=retry_after,
        registry=obstacle.registry,
        instrument=obstacle.instrument,
        period=obstacle.period,
        state=obstacle.state.name,
    )


def _first_of_each_lock(items: Sequence[T], grants: Sequence[GrantRef]) -> tuple[list[T], dict[int, DomainError]]:
    """A batch names a lock once: later items on the same lock are refused."""
    first: dict[int, int] = {}
    refused: dict[int, DomainError] = {}
    for i, grant in enumerate(grants):
        if first.setdefault(grant.lock_id, i) != i:
            refused[i] = DomainError(Reason.CONTRADICTS_BATCH_ITEM, item=first[grant.lock_id])
    return [item for i, item in enumerate(items) if i not in refused], refused


def _merged(
    count: int, refused: Mapping[int, DomainError], rest: Sequence[Lock | DomainError]
) -> list[Lock | DomainError]:
    remaining = iter(rest)
    return [refused[i] if i in refused else next(remaining) for i in range(count)]


async def begin(transaction: Transaction, grants: Sequence[GrantRef]) -> list[Lock | DomainError]:
    """HELD -> ISSUING for each grant, the point of no return; or why not."""
    items, refused = _first_of_each_lock(grants, grants)
    moved = await transaction.begin(items)
    rest = [_answer(each, one, "BeginIssuance", "HELD") for each, one in zip(items, moved, strict=True)]
    return _merged(len(grants), refused, rest)


async def release(transaction: Transaction, grants: Sequence[GrantRef]) -> list[Lock | DomainError]:
    """HELD -> RELEASED for each grant; or why not."""
    items, refused = _first_of_each_lock(grants, grants)
    moved = await transaction.release(items)
    rest = [_answer(each, one, "ReleaseIssuanceLock", "HELD") for each, one in zip(items, moved, strict=True)]
    return _merged(len(grants), refused, rest)


async def abort(transaction: Transaction, abortions: Sequence[Abortion]) -> list[Lock | DomainError]:
    """ISSUING -> ABORTED (or back to ISSUED) with evidence; or why not."""
    items, refused = _first_of_each_lock(abortions, [each.grant for each in abortions])
    moved = await transaction.abort(items)
    rest = [_answer(each.grant, one, "AbortIssuance", "ISSUING") for each, one in zip(items, moved, strict=True)]
    return _merged(len(abortions), refused, rest)


async def commit(transaction: Transaction, commitments: Sequence[Commitment]) -> list[Lock | DomainError]:
    """ISSUING -> ISSUED with the native issuance. The same commit again changes nothing and is answered alike."""
    items, refused = _first_of_each_lock(commitments, [each.grant for each in commitments])
    moved = await transaction.commit(items)
    rest = [await _commit_answer(transaction, each, one) for each, one in zip(items, moved, strict=True)]
    return _merged(len(commitments), refused, rest)


async def _commit_answer(reader: Reader, commitment: Commitment, moved: Moved | SerialConflict) -> Lock | DomainError:
    if isinstance(moved, SerialConflict):
        return DomainError(
            Reason.SERIALS_ALREADY_ISSUED, series=moved.series, native_issuance_id=commitment.native_issuance_id
        )
    grant, lock = commitment.grant, moved.lock
    if moved.done or lock is None or lock.registry != grant.registry:
        return _answer(grant, moved, "CommitIssuance", "ISSUING")
    committed = (await reader.issuances([grant.lock_id])).get(grant.lock_id, [])
    for each in committed:
        if each.token == grant.token:
            same = each.native_issuance_id == commitment.native_issuance_id and _alike(each.blocks, commitment.blocks)
            return lock if same else DomainError(Reason.COMMIT_DIFFERS, lock=_name(grant))
    if lock.token == grant.token and lock.state is LockState.ISSUING:
        return DomainError(Reason.UNITS_DIFFER, counted=total(commitment.blocks), units=lock.units)
    return _answer(grant, moved, "CommitIssuance", "ISSUING")


def _alike(left: Sequence[UnitBlock], right: Sequence[UnitBlock]) -> bool:
    return sorted(left) == sorted(right)


def _name(grant: GrantRef) -> str:
    return f"issuanceLocks/{grant.lock_id}"


def _answer(grant: GrantRef, moved: Moved, action: str, needed: str) -> Lock | DomainError:
    """The lock, or why the conditional change did not fit."""
    lock, name = moved.lock, _name(grant)
    if lock is None or lock.registry != grant.registry:
        return DomainError(Reason.LOCK_NOT_YOURS, lock=name)
    if moved.done:
        return lock
    if lock.token != grant.token:
        return DomainError(Reason.FENCING_TOKEN_STALE, lock=name, fencing_token=grant.token)
    ran_out = lock.expire_time is not None and lock.expire_time <= moved.as_of
    if lock.state is LockState.EXPIRED or ran_out:
        return DomainError(Reason.LOCK_EXPIRED, lock=name, expire_time=lock.expire_time or lock.update_time)
    return DomainError(Reason.LOCK_STATE_WRONG, lock=name, state=lock.state.name, action=action, needed=needed)
