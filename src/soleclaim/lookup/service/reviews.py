"""Deciding review cases: the waiting registration goes on by itself, its candidates are free (design section 5)."""

from dataclasses import dataclass, replace
from typing import Final

from soleclaim.core.activity_id import ActivityId, ActivityKey, activity_key, new_activity_key
from soleclaim.core.errors import DomainError, Reason
from soleclaim.lookup.domain import (
    Activity,
    Decision,
    DecisionKind,
    DecisionTaken,
    Likeness,
    ProjectRegistration,
    ReviewCase,
    ReviewEvidence,
    ReviewState,
)
from soleclaim.lookup.ports import Reader, Transaction

MAX_LEVELS: Final = 16
"""How far parts of parts are followed."""


@dataclass(frozen=True, slots=True)
class ReviewFile:
    """A case with all that a person wants to see beside it."""

    case: ReviewCase
    candidates: tuple[tuple[Likeness, Activity], ...]
    decisions: tuple[DecisionTaken, ...]
    evidence: tuple[ReviewEvidence, ...]
    named: dict[ActivityKey, ActivityId]
    """Ids of all activities that stand here."""


async def read(reader: Reader, case: ReviewCase) -> ReviewFile:
    """The file of one case."""
    (file,) = await read_all(reader, [case])
    return replace(file, evidence=tuple(await reader.review_evidence(case.case_id)))


async def read_all(reader: Reader, cases: list[ReviewCase]) -> list[ReviewFile]:
    """The files of a page of cases, without the evidence."""
    decisions = await reader.review_decisions([each.case_id for each in cases])
    keys = {likeness.key for each in cases for likeness in each.candidates}
    keys |= {each.stands_on for each in cases if each.stands_on is not None}
    keys |= {one.activity_key for each in decisions.values() for one in each if one.activity_key is not None}
    activities = await reader.activities(sorted(keys))
    named = {key: each.activity_id for key, each in activities.items()}
    return [
        ReviewFile(
            case=each,
            candidates=tuple(
                (likeness, activities[likeness.key]) for likeness in each.candidates if likeness.key in activities
            ),
            decisions=tuple(decisions.get(each.case_id, ())),
            evidence=(),
            named=named,
        )
        for each in cases
    ]


async def decide(transaction: Transaction, decision: Decision) -> ReviewFile | DomainError:
    """Take a decision, or say why it cannot be taken; then nothing is changed."""
    # Barred, decisions and openings come one after another, and no grant on a candidate is under way.
    await transaction.bar_grants()
    case = await transaction.review_case(decision.case_id)
    if case is None:
        return DomainError(Reason.REVIEW_CASE_UNKNOWN, case=_name(decision))
    if case.state is ReviewState.DECIDED:
        return DomainError(Reason.REVIEW_CASE_DECIDED, case=_name(decision))
    named = activity_key(decision.activity_id) if decision.activity_id is not None else None
    if named is not None and not await _is_candidate(transaction, case, decision.activity_id):
        return DomainError(
            Reason.REVIEW_ACTIVITY_NO_CANDIDATE, activity=f"activities/{decision.activity_id}", case=_name(decision)
        )
    if decision.kind is not DecisionKind.ASK:
        fault = await _let_go_on(transaction, case, decision, named)
        if fault is not None:
            return fault
    await transaction.record_decision(decision, named)
    decided = await transaction.review_case(decision.case_id)
    if decided is None:
        raise AssertionError("a case that was decided is gone")
    return await read(transaction, decided)


def _name(decision: Decision) -> str:
    return f"reviewCases/{decision.case_id}"


async def _is_candidate(reader: Reader, case: ReviewCase, activity_id: ActivityId | None) -> bool:
    known = await reader.activities([each.key for each in case.candidates])
    return any(each.activity_id == activity_id for each in known.values())


async def _let_go_on(
    transaction: Transaction, case: ReviewCase, decision: Decision, named: ActivityKey | None
) -> DomainError | None:
    """Register the project where the decision says; or why that cannot be."""
    project = case.registration
    registered, owners, _ = await transaction.identity_of([project])
    stands_on = registered.get((project.registry, project.native_project_id))
    # What belongs to another activity stays there; the case keeps it, and it contradicts nothing any more.
    own = tuple(each for each in dict.fromkeys(project.identifiers) if each not in owners)
    if decision.kind is DecisionKind.SAME:
        if named is None:
            raise AssertionError("SAME names an activity")
        if stands_on not in (None, named):
            return await _stands(transaction, project, decision, stands_on)
        await transaction.join_projects([(named, project, own)])
        return None
    if stands_on is not None and {each.key for each in case.candidates} == {stands_on}:
        return await _stands(transaction, project, decision, stands_on)
    if decision.kind is DecisionKind.PART_OF and await _is_within(transaction, named, stands_on):
        return DomainError(
            Reason.ACTIVITY_PART_OF_ITSELF,
            activity=await _activity_name(transaction, stands_on),
            parent=f"activities/{decision.activity_id}",
        )
    if stands_on is None:
        stands_on = new_activity_key()
        await transaction.add_activities([(stands_on, replace(project, identifiers=own))])
    else:
        await transaction.join_projects([(stands_on, project, own)])
    if decision.kind is DecisionKind.PART_OF and named is not None:
        await transaction.add_part(stands_on, named, case.case_id)
    return None


async def _stands(
    reader: Reader, project: ProjectRegistration, decision: Decision, key: ActivityKey | None
) -> DomainError:
    return DomainError(
        Reason.REVIEW_PROJECT_STANDS,
        native_project_id=project.native_project_id,
        activity=await _activity_name(reader, key),
        decision=decision.kind.name,
    )


async def _activity_name(reader: Reader, key: ActivityKey | None) -> str:
    if key is None:
        raise AssertionError("a project that stands nowhere stands in no way")
    return f"activities/{(await reader.activities([key]))[key].activity_id}"


async def _is_within(reader: Reader, part: ActivityKey | None, whole: ActivityKey | None) -> bool:
    """Whether ``part`` is ``whole`` or a part of it, over all levels."""
    if part is None or whole is None:
        return False
    level, seen = {part}, {part}
    for _ in range(MAX_LEVELS):
        if whole in level:
            return True
        level = {parent for each in level for parent in await reader.parents_of(each)} - seen
        seen |= level
        if not level:
            return False
    return True
