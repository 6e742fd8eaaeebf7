"""Taking over what registries issued before (design section 3): facts are never refused and never erased.

What fits becomes an ISSUED lock. What conflicts keeps its free part live; the rest is recorded as not live, and a
dispute names both sides. The same registry's rows for one activity, instrument and period are issuances under one lock;
rows that overlap in part have a lock each, and the overlap is a dispute of the registry with itself.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.period import Period
from soleclaim.core.rectangle import Rectangle, without
from soleclaim.lookup.domain import (
    WHOLE,
    Activity,
    Claim,
    DisputeKind,
    DisputeState,
    HistoricIssuance,
    HistoryRow,
    Imported,
    ImportState,
    KnownIssuance,
    Lock,
    LockId,
    LockRequest,
    LockState,
    NewDispute,
    Obstacle,
    Part,
    Placed,
    ProjectRegistration,
    SerialOverlap,
)
from soleclaim.lookup.ports import Reader, Transaction
from soleclaim.lookup.service import activities
from soleclaim.lookup.service.disputes import Excess, excesses
from soleclaim.policy.bundle import Bundle, Declaration

MAX_TOLD: Final = 8
"""Serial ranges that a dispute's text names."""

_NOTHING_DECLARED: Final = Declaration(no_other_application=False, no_claim_after_transfer=False)


class _Fresh(NamedTuple):
    """A row that goes into the ledger, with the activity it stands on."""

    row: HistoryRow
    issuance: HistoricIssuance
    activity: Activity


async def take_over(
    transaction: Transaction, bundle: Bundle, rows: Sequence[HistoryRow]
) -> list[Imported | DomainError]:
    """What became of each row, in order; later rows see what earlier ones did."""
    if any(each.project.description is not None for each in rows):
        await transaction.bar_descriptions()
    await transaction.bar_outcome_changes()
    stands = await _registered(transaction, list(dict.fromkeys(each.project for each in rows)))
    sorting = _Sorting(await transaction.known_issuances([_name(each) for each in rows if each.issuance is not None]))
    for i, row in enumerate(rows):
        sorting.sort(i, row, stands[row.project])
    answers = sorting.answers
    placed = await _place(transaction, bundle, list(sorting.fresh.values()), refusing=True)
    answers.update(zip(sorting.fresh, placed, strict=True))
    await transaction.keep_waiting(sorting.waiting)
    for i, first in sorting.repeats.items():
        answers[i] = _repeated(answers[first])
    answers.update(await _differing(transaction, rows, sorting))
    return [answers[i] for i in range(len(rows))]


async def _registered(
    transaction: Transaction, projects: Sequence[ProjectRegistration]
) -> dict[ProjectRegistration, Activity | DomainError]:
    """Where each project stands. One that brings nothing new is not registered again: that would hold its activity."""
    settled = await transaction.settled_projects(projects)
    known = await transaction.activities(sorted(set(settled.values()))) if settled else {}
    stands: dict[ProjectRegistration, Activity | DomainError] = {projects[i]: known[key] for i, key in settled.items()}
    others = [each for i, each in enumerate(projects) if i not in settled]
    if others:
        stands.update(zip(others, await activities.register(transaction, others), strict=True))
    return stands


async def apply_waiting(transaction: Transaction, bundle: Bundle, registry: str, native_project_id: str) -> None:
    """Take over the rows that waited for the review of a project, now that it stands on an activity."""
    rows = await transaction.waiting_rows(registry, native_project_id)
    key = await transaction.activity_of_project(registry, native_project_id) if rows else None
    if key is None:
        return
    activity = (await transaction.activities([key]))[key]
    known = await transaction.known_issuances([_name(each) for each in rows])
    sorting = _Sorting({name: each for name, each in known.items() if each.lock_id is not None})
    for i, row in enumerate(rows):
        sorting.sort(i, row, activity)
    await _place(transaction, bundle, list(sorting.fresh.values()), refusing=False)
    await _differing(transaction, rows, sorting)


def _name(row: HistoryRow) -> tuple[str, str]:
    if row.issuance is None:
        raise AssertionError("a project without an issuance has no issuance id")
    return row.project.registry, row.issuance.native_issuance_id


def _is_joined(activity: Activity, registry: str) -> bool:
    return any(other != registry for other, _ in activity.native_projects)


@dataclass(slots=True)
class _Sorting:
    """Which rows go into the ledger, which wait, and which are known."""

    known: Mapping[tuple[str, str], KnownIssuance]
    answers: dict[int, Imported | DomainError] = field(default_factory=dict)
    fresh: dict[int, _Fresh] = field(default_factory=dict)
    waiting: list[HistoryRow] = field(default_factory=list)
    repeats: dict[int, int] = field(default_factory=dict)
    """Row -> the row of this batch that it repeats."""
    differs: dict[int, int | KnownIssuance] = field(default_factory=dict)
    """Row -> the row of this batch, or the issuance that stands, with its id and other content."""
    first: dict[tuple[str, str], int] = field(default_factory=dict)
    rows: list[HistoryRow] = field(default_factory=list)

    def sort(self, i: int, row: HistoryRow, stands: Activity | DomainError) -> None:
        """The next row, and where its project stands."""
        self.rows.append(row)
        if row.issuance is None:
            self.answers[i] = _in_review(stands) if isinstance(stands, DomainError) else _project_alone(row, stands)
            return
        name = _name(row)
        known = self.known.get(name)
        if known is not None:
            self._sort_known(i, row, known, stands)
            return
        first = self.first.setdefault(name, i)
        if first != i:
            other = self.rows[first]
            same = other.issuance is not None and other.issuance.content == row.issuance.content
            is_repeat = same and other.project.native_project_id == row.project.native_project_id
            if is_repeat:
                self.repeats[i] = first
            elif first in self.fresh:
                self.differs[i] = first
            else:
                self.answers[i] = _waits_otherwise(row.issuance)
        elif isinstance(stands, DomainError):
            self.answers[i] = _in_review(stands)
            if stands.reason is Reason.IDENTITY_UNDER_REVIEW:
                self.waiting.append(row)
        else:
            self.fresh[i] = _Fresh(row, row.issuance, stands)

    def _sort_known(self, i: int, row: HistoryRow, known: KnownIssuance, stands: Activity | DomainError) -> None:
        if row.issuance is None:
            raise AssertionError("only an issuance is known")
        activity = None if isinstance(stands, DomainError) else stands
        same = known.content == row.issuance.content and (
            known.native_project_id == row.project.native_project_id
            if known.native_project_id
            else activity is None or known.activity_key == activity.key
        )
        if same:
            self.answers[i] = Imported(
                ImportState.REPEATED,
                None if activity is None else activity.activity_id,
                activity is not None and _is_joined(activity, row.project.registry),
                known.lock_id,
                _case(stands) if isinstance(stands, DomainError) else None,
            )
        elif known.lock_id is None:
            self.answers[i] = _waits_otherwise(row.issuance)
        else:
            self.differs[i] = known


def _project_alone(row: HistoryRow, activity: Activity) -> Imported:
    return Imported(ImportState.FITTED, activity.activity_id, _is_joined(activity, row.project.registry))


def _case(fault: DomainError) -> int | None:
    return int(fault.variables["case"]) if fault.reason is Reason.IDENTITY_UNDER_REVIEW else None


def _in_review(fault: DomainError) -> Imported | DomainError:
    case = _case(fault)
    return fault if case is None else Imported(ImportState.IN_REVIEW, review_case=case)


def _waits_otherwise(issuance: HistoricIssuance) -> DomainError:
    return DomainError(Reason.ISSUANCE_DIFFERS, native_issuance_id=issuance.native_issuance_id)


def _repeated(first: Imported | DomainError) -> Imported | DomainError:
    if isinstance(first, DomainError):
        return first
    return Imported(
        ImportState.REPEATED, first.activity_id, first.joined, first.lock_id, first.review_case, first.disputes
    )


async def _differing(
    transaction: Transaction, rows: Sequence[HistoryRow], sorting: _Sorting
) -> dict[int, Imported | DomainError]:
    """A native issuance id that stands with other content: the first stands, the other is kept in a dispute."""
    late: dict[int, NewDispute] = {}
    refused: dict[int, Imported | DomainError] = {}
    for i, other in sorting.differs.items():
        row = rows[i]
        if row.issuance is None:
            raise AssertionError("only an issuance differs")
        if isinstance(other, KnownIssuance):
            lock_id, key = other.lock_id, other.activity_key
        else:
            first = sorting.answers[other]
            if isinstance(first, DomainError):
                refused[i] = first
                continue
            lock_id, key = first.lock_id, sorting.fresh[other].activity.key
        if lock_id is None or key is None:
            raise AssertionError("what stands has a lock")
        late[i] = NewDispute(
            DisputeKind.CONTENT_DIFFERS, key, row.project.country, Rectangle.of(row.issuance.period), lock_id, lock_id,
            f"issuance {row.issuance.native_issuance_id} stands with other content; now told as {row.issuance.units} "
            f"units for {row.issuance.period} of project {row.project.native_project_id}",
            holding=False, document=row,
        )  # fmt: skip
    if not late:
        return refused
    order = list(late)
    before = await transaction.differing([late[i] for i in order])
    opened = [i for place, i in enumerate(order) if place not in before]
    numbers = dict(zip(opened, await transaction.open_disputes([late[i] for i in opened]), strict=True))
    return refused | {
        i: Imported(
            ImportState.DISPUTED if i in numbers else ImportState.REPEATED,
            lock_id=late[i].late,
            disputes=(numbers[i] if i in numbers else before[place],),
        )
        for place, i in enumerate(order)
    }


class _Group(NamedTuple):
    """Issuances of one registry and instrument for one activity and period: they share a lock."""

    claim: Claim
    members: list[int]


class _Look(NamedTuple):
    """What stands where a group's lock would claim."""

    own: Lock | None
    """The registry's lock on exactly this claim."""
    others: list[tuple[Lock, Rectangle]]
    """What is live of other locks there."""
    measured: bool
    """Whether an outcome bounds it: one is recorded for exactly this period."""


def _under_way(fresh: Sequence[_Fresh], groups: Sequence[_Group], looks: Sequence[_Look]) -> dict[int, DomainError]:
    """Rows that may tell of what their lock has begun, of as many units: recorded now, it could never be committed."""
    return {
        i: DomainError(
            Reason.ISSUANCE_UNDER_WAY,
            native_issuance_id=fresh[i].issuance.native_issuance_id,
            lock=f"issuanceLocks/{look.own.lock_id}",
        )
        for group, look in zip(groups, looks, strict=True)
        if look.own is not None and look.own.state is LockState.ISSUING
        for i in group.members
        if fresh[i].issuance.units == look.own.units
    }


async def _place(
    transaction: Transaction, bundle: Bundle, fresh: Sequence[_Fresh], *, refusing: bool
) -> list[Imported | DomainError]:
    """Write rows into the ledger, each under the lock of its group, and open the disputes that they are in.

    ``refusing``: whether who sent them hears of it, and can send again what may be under way.
    """
    if not fresh:
        return []
    groups = _grouped(bundle, fresh)
    looks = await _look(transaction, groups)
    if refusing and (refused := _under_way(fresh, groups, looks)):
        others = [each for i, each in enumerate(fresh) if i not in refused]
        placed_others = iter(await _place(transaction, bundle, others, refusing=refusing))
        return [refused[i] if i in refused else next(placed_others) for i in range(len(fresh))]
    if any(each.measured or each.others for each in looks):
        # A dispute may come of it, or a grant may just count what is left of a measure.
        await transaction.bar_grants_first()
        looks = await _look(transaction, groups)
        waiting = {lock.lock_id for each in looks for lock, _ in each.others if lock.expire_time is not None}
        # One's own too, where a measure bounds both: it was granted before the fact was counted.
        waiting |= {each.own.lock_id for each in looks if each.own and each.measured and _is_waiting(each.own)}
        if waiting:
            # A request that has not begun gives way to a fact.
            await transaction.end_open_grants(sorted(waiting))
            looks = await _look(transaction, groups)
    plan = await _planned(transaction, groups, looks)
    if plan.disputes:
        await transaction.bar_grants_first()
    placed = [
        Placed(each.row, each.activity.activity_id, each.activity.key, lock_id)
        for each, lock_id in zip(fresh, plan.lock_of_row(groups, len(fresh)), strict=True)
    ]
    overlaps = await transaction.record_history(placed, frozenset(plan.fresh), plan.parts)
    spots = [each.claim for each, look in zip(groups, looks, strict=True) if look.measured]
    over = await excesses(transaction, bundle, [(one.request.activity_key, one.request.period, one.base_unit)
                                                for one in spots])  # fmt: skip
    plan.add_excesses(groups, over)
    plan.add_serials(placed, overlaps)
    numbers = await transaction.open_disputes([dispute for dispute, _ in plan.disputes])
    named = plan.named
    for number, (_, members) in zip(numbers, plan.disputes, strict=True):
        for i in members:
            named[i].append(number)
    return [
        Imported(
            ImportState.DISPUTED if named[i] else ImportState.FITTED,
            each.activity.activity_id,
            _is_joined(each.activity, each.row.project.registry),
            placed[i].lock_id,
            disputes=tuple(sorted(named[i])),
        )
        for i, each in enumerate(fresh)
    ]


def _grouped(bundle: Bundle, fresh: Sequence[_Fresh]) -> list[_Group]:
    groups: dict[tuple[ActivityKey, str, str, Period], list[int]] = defaultdict(list)
    for i, (row, issuance, activity) in enumerate(fresh):
        groups[activity.key, row.project.registry, issuance.instrument, issuance.period].append(i)
    return [_Group(_claim(bundle, fresh[members[0]]), members) for members in groups.values()]


def _claim(bundle: Bundle, fresh: _Fresh) -> Claim:
    row, issuance, activity = fresh
    request = LockRequest(
        row.project.registry, issuance.instrument, activity.activity_id, activity.key, issuance.period, WHOLE,
        issuance.units, 0, "", _NOTHING_DECLARED, 0,
    )  # fmt: skip
    return Claim.of(bundle, request)


async def _look(reader: Reader, groups: Sequence[_Group]) -> list[_Look]:
    claims = [each.claim for each in groups]
    found = await reader.obstacles(claims, stale=True)
    set_aside = await reader.set_aside_locks(claims)
    outcomes = await reader.outcomes(
        [(each.request.activity_key, each.request.period, each.base_unit) for each in claims]
    )
    ids = sorted({one.lock_id for each in found for one in each})
    locks = await reader.locks(ids) if ids else {}
    looks = []
    for i, (claim, obstacles) in enumerate(zip(claims, found, strict=True)):
        own = next((locks[each.lock_id] for each in obstacles if claim.is_for(locks[each.lock_id])), set_aside.get(i))
        others = [
            (locks[each.lock_id], _where(each)) for each in obstacles if own is None or each.lock_id != own.lock_id
        ]
        spot = (claim.request.activity_key, claim.request.period, claim.base_unit)
        looks.append(_Look(own, others, claim.measured and spot in outcomes))
    return looks


def _is_waiting(lock: Lock) -> bool:
    return lock.state in (LockState.HELD, LockState.ISSUED) and lock.expire_time is not None


def _where(obstacle: Obstacle) -> Rectangle:
    return Rectangle.of(obstacle.period, *obstacle.slice)


@dataclass(slots=True)
class _Plan:
    """What is to be written: locks, the parts that they claim, and disputes with the rows that are in them."""

    lock_of: list[LockId] = field(default_factory=list)
    """Of each group."""
    fresh: list[LockId] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    disputes: list[tuple[NewDispute, list[int]]] = field(default_factory=list)
    named: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Disputes that stand already, by row."""
    exceeding: set[LockId] = field(default_factory=set)
    """Locks whose measure is in dispute already."""

    def lock_of_row(self, groups: Sequence[_Group], count: int) -> list[LockId]:
        """The lock of each row."""
        found = {i: lock for group, lock in zip(groups, self.lock_of, strict=True) for i in group.members}
        return [found[i] for i in range(count)]

    def add_clashes(self, group: _Group, late: LockId, clashes: Sequence[tuple[LockId, Rectangle]]) -> None:
        """What the late lock claims and another one has."""
        one = group.claim.request
        self.disputes += [
            (
                NewDispute(
                    DisputeKind.OUTCOME_CLAIMED_TWICE, one.activity_key, one.activity_id[:2], where, other, late,
                    f"both claim {where.period}", holding=True,
                ),
                group.members,
            )
            for other, where in clashes
        ]  # fmt: skip

    def add_excesses(self, groups: Sequence[_Group], over: Mapping[tuple[ActivityKey, Period, str], Excess]) -> None:
        """More units than were measured: recorded, and told."""
        for group, lock_id in zip(groups, self.lock_of, strict=True):
            one = group.claim.request
            excess = over.get((one.activity_key, one.period, group.claim.base_unit))
            if excess is None or lock_id in self.exceeding or lock_id not in excess.lock_ids:
                continue
            detail = f"{excess.used} {group.claim.base_unit} issued, {excess.available} measured and carried in"
            dispute = NewDispute(
                DisputeKind.MORE_THAN_MEASURED, one.activity_key, one.activity_id[:2], Rectangle.of(one.period), None,
                lock_id, detail, holding=True,
            )  # fmt: skip
            self.disputes.append((dispute, group.members))

    def add_serials(self, placed: Sequence[Placed], overlaps: Sequence[SerialOverlap]) -> None:
        """Serials that stand already: one dispute for each issuance and lock that has them."""
        grouped: dict[tuple[int, LockId], list[str]] = defaultdict(list)
        for place, standing, block in overlaps:
            grouped[place, standing].append(f"{block.series} {block.start}-{block.end}")
        for (place, standing), ranges in grouped.items():
            one = placed[place]
            if one.row.issuance is None:
                raise AssertionError("only an issuance has serials")
            told = ", ".join(ranges[:MAX_TOLD]) + (
                f" and {len(ranges) - MAX_TOLD} more" if len(ranges) > MAX_TOLD else ""
            )
            dispute = NewDispute(
                DisputeKind.SERIALS_TWICE, one.activity_key, one.activity_id[:2], Rectangle.of(one.row.issuance.period),
                standing, one.lock_id,
                f"issuance {one.row.issuance.native_issuance_id} has serials that stand already: {told}"[:1024],
                holding=False,
            )  # fmt: skip
            self.disputes.append((dispute, [place]))


async def _planned(transaction: Transaction, groups: Sequence[_Group], looks: Sequence[_Look]) -> _Plan:
    """Free parts become live; what another lock has is recorded as not live, and is in dispute."""
    plan = _Plan()
    numbers = iter(await transaction.new_lock_ids(sum(each.own is None for each in looks)))
    taken: defaultdict[ActivityKey, list[tuple[LockId, tuple[int, ...], Rectangle]]] = defaultdict(list)
    for group, look in zip(groups, looks, strict=True):
        if look.own is not None:
            plan.lock_of.append(look.own.lock_id)
            continue
        lock_id, one, attributes = next(numbers), group.claim.request, group.claim.attributes
        whole = Rectangle.of(one.period)
        standing = [(lock.lock_id, where) for lock, where in look.others]
        standing += [(other, where) for other, theirs, where in taken[one.activity_key]
                     if not set(theirs).isdisjoint(attributes)]  # fmt: skip
        clashes = [(other, shared) for other, where in standing if (shared := whole.shared(where)) is not None]
        free = without([whole], [where for _, where in clashes]) if clashes else [whole]
        barred = without([whole], free) if clashes else []
        plan.lock_of.append(lock_id)
        plan.fresh.append(lock_id)
        plan.parts += [Part(lock_id, one.activity_key, attributes, where, True) for where in free]
        plan.parts += [Part(lock_id, one.activity_key, attributes, where, False) for where in barred]
        taken[one.activity_key] += [(lock_id, attributes, where) for where in free]
        plan.add_clashes(group, lock_id, clashes)
    await _name_standing(transaction, groups, looks, plan)
    return plan


async def _name_standing(reader: Reader, groups: Sequence[_Group], looks: Sequence[_Look], plan: _Plan) -> None:
    """Open disputes that the locks which stand are in already, and new ones over what they lost to another lock."""
    own = {look.own.lock_id: group for group, look in zip(groups, looks, strict=True) if look.own is not None}
    if not own:
        return
    known: set[tuple[LockId | None, LockId]] = set()
    for each in await reader.disputes_on([group.claim.request.activity_key for group in own.values()]):
        if each.state is not DisputeState.OPEN:
            continue
        for side in {one for one in (each.standing, each.late) if one is not None} & own.keys():
            for i in own[side].members:
                plan.named[i].append(each.dispute_id)
            if each.kind is DisputeKind.MORE_THAN_MEASURED:
                plan.exceeding.add(side)
        if each.kind is DisputeKind.OUTCOME_CLAIMED_TWICE:
            known |= {(each.standing, each.late), (each.late, each.standing or each.late)}
    for group, look in zip(groups, looks, strict=True):
        if look.own is None:
            continue
        late, whole = look.own.lock_id, Rectangle.of(group.claim.request.period)
        shared = ((lock.lock_id, whole.shared(where)) for lock, where in look.others)
        plan.add_clashes(
            group, late, [(other, where) for other, where in shared if where is not None and (other, late) not in known]
        )
