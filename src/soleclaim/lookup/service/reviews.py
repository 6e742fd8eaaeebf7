"""Deciding review cases: the waiting registration goes on by itself, its candidates are free (design section 5)."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from soleclaim.core.activity_id import ActivityId, ActivityKey, activity_key, new_activity_key
from soleclaim.core.errors import DomainError, Reason
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import (
    LIKENESS,
    Activity,
    Decision,
    DecisionKind,
    DecisionTaken,
    Likeness,
    ProjectRegistration,
    ReviewCase,
    ReviewEvidence,
    ReviewState,
    ToldApart,
)
from soleclaim.lookup.ports import Reader, Transaction
from soleclaim.lookup.service.history import apply_waiting
from soleclaim.lookup.service.likeness import Alike
from soleclaim.lookup.service.merging import look
from soleclaim.policy.bundle import Bundle

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


async def decide(transaction: Transaction, bundle: Bundle, decision: Decision) -> ReviewFile | DomainError:
    """Take a decision, or say why it cannot be taken; then nothing is changed, but what nobody saw is a candidate."""
    await _bar(transaction)
    case = await _open_case(transaction, decision.case_id)
    if isinstance(case, DomainError):
        return case
    if decision.seen is not None and decision.seen != case.update_time:
        return DomainError(Reason.REVIEW_CASE_NEWER, case=_name(case.case_id), update_time=case.update_time.isoformat())
    named = activity_key(decision.activity_id) if decision.activity_id is not None else None
    if named is not None and not await _is_candidate(transaction, case, decision.activity_id):
        return DomainError(
            Reason.REVIEW_ACTIVITY_NO_CANDIDATE, activity=f"activities/{decision.activity_id}", case=_name(case.case_id)
        )
    proposed = False
    if decision.kind is DecisionKind.SAME and named is not None:
        merger = await _merger(transaction, bundle, case, named)
        if isinstance(merger, DomainError):
            return merger
        proposed = merger.needs_two
        if not proposed:
            await _join(transaction, case, named, merger)
    elif decision.kind is not DecisionKind.ASK:
        fault = await _tell_apart(transaction, case, decision, named)
        if fault is not None:
            return fault
    await transaction.record_decision(decision, named, proposed=proposed)
    await _apply_history(transaction, bundle, case)
    return await _file(transaction, case)


async def confirm(
    transaction: Transaction, bundle: Bundle, case_id: int, *, reason: str, decider: str
) -> ReviewFile | DomainError:
    """As a second person, carry out the merge that a case waits with; or say why not, with nothing merged."""
    await _bar(transaction)
    case = await _open_case(transaction, case_id)
    if isinstance(case, DomainError):
        return case
    if not case.awaits_confirmation:
        return DomainError(Reason.REVIEW_NOTHING_PROPOSED, case=_name(case_id))
    proposal = (await transaction.review_decisions([case_id]))[case_id][-1]
    if proposal.decider == decider:
        return DomainError(Reason.REVIEW_SECOND_PERSON_NEEDED, case=_name(case_id), decider=decider)
    if proposal.activity_key is None:
        raise AssertionError("a proposal names an activity")
    # It may have been merged itself meanwhile, by another case; then that one holds its place among the candidates.
    named = await transaction.survivor_of(proposal.activity_key)
    activity_id = (await transaction.activities([named]))[named].activity_id
    if not await _is_candidate(transaction, case, activity_id):
        return DomainError(
            Reason.REVIEW_ACTIVITY_NO_CANDIDATE, activity=f"activities/{activity_id}", case=_name(case_id)
        )
    merger = await _merger(transaction, bundle, case, named)
    if isinstance(merger, DomainError):
        return merger
    await _join(transaction, case, named, merger)
    confirmation = Decision(case_id, DecisionKind.CONFIRM, activity_id, "", reason, decider)
    await transaction.record_decision(confirmation, named)
    await _apply_history(transaction, bundle, case)
    return await _file(transaction, case)


async def _apply_history(transaction: Transaction, bundle: Bundle, case: ReviewCase) -> None:
    """What waited for the decision, if it closed the case."""
    now = await transaction.review_case(case.case_id)
    if now is not None and now.state is ReviewState.DECIDED:
        project = case.registration
        await apply_waiting(transaction, bundle, project.registry, project.native_project_id)


async def reopen(transaction: Transaction, case_id: int, *, reason: str, decider: str) -> ReviewFile | DomainError:
    """Take back the decision on a case: it is open again, and holds what it held and what its project got by that."""
    await _bar(transaction)
    case = await transaction.review_case(case_id)
    if case is None:
        return DomainError(Reason.REVIEW_CASE_UNKNOWN, case=_name(case_id))
    if case.state is ReviewState.OPEN:
        return DomainError(Reason.REVIEW_CASE_OPEN, case=_name(case_id))
    last = (await transaction.review_decisions([case_id]))[case_id][-1]
    if last.kind in (DecisionKind.SAME, DecisionKind.CONFIRM) and last.activity_key is not None:
        joined = await transaction.survivor_of(last.activity_key)
        if case.stands_on == joined and await transaction.same_stands(case_id, last.create_time):
            return DomainError(
                Reason.REVIEW_SAME_STANDS, case=_name(case_id), activity=await _activity_name(transaction, joined)
            )
    await transaction.hold_again(case_id, case.stands_on)
    await transaction.record_decision(Decision(case_id, DecisionKind.REOPEN, None, "", reason, decider), None)
    return await _file(transaction, case)


async def _bar(transaction: Transaction) -> None:
    """Decisions come one after another; no grant on a candidate, nor a joining by likeness to it, is under way."""
    await transaction.bar_descriptions()
    await transaction.bar_grants()


async def _open_case(reader: Reader, case_id: int) -> ReviewCase | DomainError:
    case = await reader.review_case(case_id)
    if case is None:
        return DomainError(Reason.REVIEW_CASE_UNKNOWN, case=_name(case_id))
    if case.state is ReviewState.DECIDED:
        return DomainError(Reason.REVIEW_CASE_DECIDED, case=_name(case_id))
    return case


async def _file(reader: Reader, case: ReviewCase) -> ReviewFile:
    now = await reader.review_case(case.case_id)
    if now is None:
        raise AssertionError("a case that was decided is gone")
    return await read(reader, now)


def _name(case_id: int) -> str:
    return f"reviewCases/{case_id}"


async def _is_candidate(reader: Reader, case: ReviewCase, activity_id: ActivityId | None) -> bool:
    known = await reader.activities([each.key for each in case.candidates])
    return any(each.activity_id == activity_id for each in known.values())


async def _changed(transaction: Transaction, case: ReviewCase) -> DomainError | None:
    """Activities that came while the case waited go to it as new evidence: nobody has told the project from them yet.

    The bars are down: what is not found here comes after the decision, and finds what that leaves.
    """
    project = case.registration
    registered, owners, _ = await transaction.identity_of([project])
    settled = (await transaction.settled([project])).get((project.registry, project.native_project_id), frozenset())
    seen = {*registered.values(), *(each.key for each in case.candidates)}
    owning = sorted({key for each, key in owners.items() if key not in seen and (each, key) not in settled})
    own = next(iter(registered.values()), None)
    seen |= {*owning, *await transaction.apart_from(project, own)}
    alike = [each for each in await _alike(transaction, project, own) if each.key not in seen]
    missed: list[ActivityKey | Likeness] = [*owning, *alike]
    if not missed:
        return None
    await transaction.open_review(project, missed, "it may be another activity that no case of it named before")
    names = [await _activity_name(transaction, key) for key in (*owning, *(each.key for each in alike))]
    return DomainError(Reason.REVIEW_CASE_CHANGED, case=_name(case.case_id), activities=", ".join(names))


async def _alike(reader: Reader, project: ProjectRegistration, own: ActivityKey | None) -> list[Likeness]:
    return await (await Alike.read(reader, [project])).others(project, own)


class _Merger(NamedTuple):
    """What SAME brings together."""

    others: tuple[ActivityKey, ...]
    """Activities that become one with the one named."""
    own: tuple[Identifier, ...]
    """Identifiers of the registration that no activity has yet."""
    needs_two: bool


async def _merger(
    transaction: Transaction, bundle: Bundle, case: ReviewCase, named: ActivityKey
) -> _Merger | DomainError:
    """The candidates to which the registration's identifiers, or the project itself, lead besides the one named."""
    changed = await _changed(transaction, case)
    if changed is not None:
        return changed
    project = case.registration
    registered, owners, _ = await transaction.identity_of([project])
    stands_on = registered.get((project.registry, project.native_project_id))
    leads_to = {*owners.values(), *registered.values()}
    others = sorted(leads_to.intersection(each.key for each in case.candidates) - {named})
    if stands_on not in (None, named, *others):
        return await _stands(transaction, project, DecisionKind.SAME, stands_on)
    own = tuple(each for each in dict.fromkeys(project.identifiers) if each not in owners)
    if not others:
        return _Merger((), own, needs_two=False)
    for other in others:
        for part, whole in ((other, named), (named, other)):
            if await _is_within(transaction, part, whole, but_of=case.case_id):
                return DomainError(
                    Reason.ACTIVITY_PART_OF_ITSELF,
                    activity=await _activity_name(transaction, whole),
                    parent=await _activity_name(transaction, part),
                )
    fault, has_issuances = await look(transaction, bundle, [named, *others])
    return fault or _Merger(tuple(others), own, has_issuances)


async def _join(transaction: Transaction, case: ReviewCase, named: ActivityKey, merger: _Merger) -> None:
    await _settle(transaction, case, {named, *merger.others})
    await transaction.take_back_parts(case.case_id)
    for other in merger.others:
        await transaction.merge(other, named, case.case_id)
    await transaction.join_projects([(named, case.registration, merger.own)])


async def _tell_apart(
    transaction: Transaction, case: ReviewCase, decision: Decision, named: ActivityKey | None
) -> DomainError | None:
    """Give the project an activity of its own, or leave it the one it has; or why that cannot be."""
    changed = await _changed(transaction, case)
    if changed is not None:
        return changed
    project = case.registration
    registered, owners, _ = await transaction.identity_of([project])
    stands_on = registered.get((project.registry, project.native_project_id))
    # What belongs to another activity stays there; the case keeps it, and it contradicts nothing any more.
    own = tuple(each for each in dict.fromkeys(project.identifiers) if each not in owners)
    if stands_on is not None and {each.key for each in case.candidates} == {stands_on}:
        return await _stands(transaction, project, decision.kind, stands_on)
    if decision.kind is DecisionKind.PART_OF and await _is_within(transaction, named, stands_on, but_of=case.case_id):
        return DomainError(
            Reason.ACTIVITY_PART_OF_ITSELF,
            activity=await _activity_name(transaction, stands_on),
            parent=f"activities/{decision.activity_id}",
        )
    await _settle(transaction, case, {stands_on})
    await transaction.take_back_parts(case.case_id)
    if stands_on is None:
        stands_on = new_activity_key()
        await transaction.add_activities([(stands_on, replace(project, identifiers=own))])
    else:
        await transaction.join_projects([(stands_on, project, own)])
    if decision.kind is DecisionKind.PART_OF and named is not None:
        await transaction.add_part(stands_on, named, case.case_id)
    return None


async def _settle(transaction: Transaction, case: ReviewCase, becomes: Collection[ActivityKey | None]) -> None:
    """What the person saw leads nowhere else any more: all that was sent to the case, as far as candidates have it.

    ``becomes``: what the project is of. It is like the other candidates, and none of them.
    """
    before = {each.key for each in case.candidates}
    sent = {one for each in await transaction.review_evidence(case.case_id) for one in each.registration.identifiers}
    owners = await transaction.owners_of(sent)
    settled = [(identifier, owner) for identifier, owner in owners.items() if owner in before]
    settled += [(LIKENESS, key) for key in before.difference(becomes)]
    project = case.registration
    await transaction.tell_apart(
        [ToldApart(project.registry, project.native_project_id, identifier, key) for identifier, key in settled]
    )


async def _stands(
    reader: Reader, project: ProjectRegistration, kind: DecisionKind, key: ActivityKey | None
) -> DomainError:
    return DomainError(
        Reason.REVIEW_PROJECT_STANDS,
        native_project_id=project.native_project_id,
        activity=await _activity_name(reader, key),
        decision=kind.name,
    )


async def _activity_name(reader: Reader, key: ActivityKey | None) -> str:
    if key is None:
        raise AssertionError("a project that stands nowhere stands in no way")
    return f"activities/{(await reader.activities([key]))[key].activity_id}"


async def _is_within(reader: Reader, part: ActivityKey | None, whole: ActivityKey | None, *, but_of: int) -> bool:
    """Whether ``part`` is ``whole`` or a part of it, over all levels; what the case ``but_of`` says is open."""
    if part is None or whole is None:
        return False
    level, seen = {part}, {part}
    for _ in range(MAX_LEVELS):
        if whole in level:
            return True
        level = {parent for each in level for parent in await reader.parents_of(each, but_of=but_of)} - seen
        seen |= level
        if not level:
            return False
    return True
