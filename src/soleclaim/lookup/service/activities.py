"""Registering native projects: one activity per real-world thing (design section 5).

Strong identifiers decide first; where they say nothing, what a project looks like does, also what it looks like since.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from soleclaim.core.activity_id import ActivityKey, new_activity_key
from soleclaim.core.errors import DomainError, Reason
from soleclaim.identity.record import Description
from soleclaim.identity.strong import Contradiction, Create, Identifier, Join, decide
from soleclaim.lookup.domain import Activity, Likeness, ProjectRegistration, ReviewOfProject
from soleclaim.lookup.ports import Identity, Transaction
from soleclaim.lookup.service.likeness import Alike, Doubt, doubt


async def register(transaction: Transaction, projects: Sequence[ProjectRegistration]) -> list[Activity | DomainError]:
    """Join or create the activity of each project, in order; later items see what earlier ones did.

    Contradictions, and likeness that leaves a doubt, open a review case and are refused with IDENTITY_UNDER_REVIEW. So
    is whatever else a project sends while its case is open: a person, who sees it there, ends the case.
    """
    seen, plan = None, None
    if any(each.description is not None for each in projects):
        await transaction.bar_descriptions()
        # Compared before anything is held, and before grants are barred: it takes milliseconds a project, and grants
        # shall not wait for a thousand. Whoever else registers by description, merges or splits waits meanwhile.
        seen = await _look(transaction, projects, await transaction.identity_of(projects, hold=False))
        plan = await _decide_all(transaction, projects, seen)
        if plan.opening:
            await transaction.bar_grants()
    now = await _look(transaction, projects, await transaction.identity_of(projects))
    if plan is None or now != seen:
        plan = await _decide_all(transaction, projects, now)
    answers: dict[int, Activity | DomainError] = {}
    for i, evidence in plan.opening.items():
        case_id = await transaction.open_review(projects[i], evidence.candidates, evidence.detail)
        answers[i] = DomainError(
            Reason.IDENTITY_UNDER_REVIEW, native_project_id=projects[i].native_project_id, case=case_id
        )
    await transaction.add_activities(plan.created)
    await transaction.join_projects(plan.joined)
    activities = await transaction.activities(list(plan.stands.values()))
    answers.update({i: activities[key] for i, key in plan.stands.items()})
    return [answers[i] for i in range(len(projects))]


class _Known(NamedTuple):
    """What stands in the store of the projects of a batch."""

    registered: dict[tuple[str, str], ActivityKey]
    owners: dict[Identifier, ActivityKey]
    identifiers: dict[ActivityKey, frozenset[Identifier]]
    reviews: dict[tuple[str, str], ReviewOfProject]
    settled: dict[tuple[str, str], frozenset[tuple[Identifier, ActivityKey]]]


async def _look(transaction: Transaction, projects: Sequence[ProjectRegistration], identity: Identity) -> _Known:
    return _Known(*identity, await transaction.reviews_of(projects), await transaction.settled(projects))


@dataclass(slots=True)
class _Plan:
    """What becomes of the projects of a batch, by their places in it."""

    created: list[tuple[ActivityKey, ProjectRegistration]] = field(default_factory=list)
    joined: list[tuple[ActivityKey, ProjectRegistration, Sequence[Identifier]]] = field(default_factory=list)
    opening: dict[int, Contradiction | Doubt] = field(default_factory=dict)
    """Cases to open, or evidence for open ones."""
    stands: dict[int, ActivityKey] = field(default_factory=dict)


async def _decide_all(transaction: Transaction, projects: Sequence[ProjectRegistration], stands: _Known) -> _Plan:
    """Decide on each project, in order; changes nothing."""
    registered, owners, known = dict(stands.registered), dict(stands.owners), dict(stands.identifiers)
    alike = await Alike.read(transaction, projects)
    described = await _descriptions(transaction, projects, registered)
    plan = _Plan()
    for i, project in enumerate(projects):
        name = (project.registry, project.native_project_id)
        review, settled = stands.reviews.get(name), stands.settled.get(name, frozenset())
        decision: Join | Create | Contradiction | Doubt
        decision = decide(project.identifiers, owners, known, registered.get(name), settled)
        if isinstance(decision, Create):
            decision = await alike.decide(project)
        elif isinstance(decision, Join) and name in registered and _is_news(project, described.get(name)):
            decision = await _look_again(transaction, alike, project, decision)
        if review is not None and review.is_open:
            decision = _to_open_case(decision)
        match decision:
            case Contradiction() | Doubt():
                plan.opening[i] = decision
                continue
            case Create():
                key = new_activity_key()
                plan.created.append((key, project))
            case Join():
                key = decision.key
                plan.joined.append((key, project, decision.new))
        plan.stands[i] = registered[name] = key
        owners.update(dict.fromkeys(project.identifiers, key))
        known[key] = known.get(key, frozenset()) | frozenset(project.identifiers)
        alike.note(key, project)
    return plan


async def _descriptions(
    transaction: Transaction, projects: Sequence[ProjectRegistration], registered: Mapping[tuple[str, str], ActivityKey]
) -> dict[tuple[str, str], Description]:
    """What is known of how these projects look, of those that are described now and registered."""
    names = [(each.registry, each.native_project_id) for each in projects if each.description is not None]
    known = await transaction.descriptions_of({registered[each] for each in names if each in registered})
    return {(each.registry, each.native_project_id): each.description for one in known.values() for each in one}


def _is_news(project: ProjectRegistration, before: Description | None) -> bool:
    """Whether it is described as it was not before. Its own id says nothing of how it looks."""
    now = project.description
    return now is not None and (before is None or replace(now, id="") != replace(before, id=""))


async def _look_again(
    transaction: Transaction, alike: Alike, project: ProjectRegistration, stands: Join
) -> Join | Doubt:
    """Whether what a registered project looks like now is another activity: two that stand are merged by a person."""
    others = await alike.others(project, stands.key)
    apart = await transaction.apart_from(project, stands.key) if others else frozenset()
    left = [each for each in others if each.key not in apart]
    return doubt([Likeness(stands.key), *left]) if left else stands


def _to_open_case(decision: Join | Create | Contradiction | Doubt) -> Contradiction | Doubt:
    """What new evidence an open case gets: also a registration that would be clear by itself decides nothing."""
    match decision:
        case Contradiction() | Doubt():
            return decision
        case Join(key, _):
            return Contradiction((key,), "registered again while the case is open; by itself it would join")
        case Create():
            return Contradiction((), "registered again while the case is open; by itself it would be new")
