"""Registering native projects: one activity per real-world thing (design section 5).

Strong identifiers decide first; where they say nothing, what the project looks like does.
"""

from collections.abc import Sequence

from soleclaim.core.activity_id import ActivityKey, new_activity_key
from soleclaim.core.errors import DomainError, Reason
from soleclaim.identity.strong import Contradiction, Create, Identifier, Join, decide
from soleclaim.lookup.domain import Activity, ProjectRegistration
from soleclaim.lookup.ports import Transaction
from soleclaim.lookup.service.likeness import Alike, Doubt


async def register(transaction: Transaction, projects: Sequence[ProjectRegistration]) -> list[Activity | DomainError]:
    """Join or create the activity of each project, in order; later items see what earlier ones did.

    Contradictions, and likeness that leaves a doubt, open a review case and are refused with IDENTITY_UNDER_REVIEW. So
    is whatever else a project sends while its case is open: a person, who sees it there, ends the case.
    """
    if any(each.description is not None for each in projects):
        await transaction.bar_descriptions()
    registered, owners, known = await transaction.identity_of(projects)
    alike = await Alike.read(transaction, projects)
    reviews = await transaction.reviews_of(projects)
    created: list[tuple[ActivityKey, ProjectRegistration]] = []
    joined: list[tuple[ActivityKey, ProjectRegistration, Sequence[Identifier]]] = []
    answers: list[ActivityKey | DomainError] = []
    for project in projects:
        name = (project.registry, project.native_project_id)
        review = reviews.get(name)
        settled = review.settled if review else frozenset()
        decision: Join | Create | Contradiction | Doubt
        decision = decide(project.identifiers, owners, known, registered.get(name), settled)
        if isinstance(decision, Create):
            decision = await alike.decide(project)
        if review is not None and review.is_open:
            decision = _to_open_case(decision)
        match decision:
            case Contradiction() | Doubt():
                case_id = await transaction.open_review(project, decision.candidates, decision.detail)
                answers.append(
                    DomainError(Reason.IDENTITY_UNDER_REVIEW, native_project_id=project.native_project_id, case=case_id)
                )
                continue
            case Create():
                key = new_activity_key()
                created.append((key, project))
            case Join():
                key = decision.key
                joined.append((key, project, decision.new))
        answers.append(key)
        registered[name] = key
        owners.update(dict.fromkeys(project.identifiers, key))
        known[key] = known.get(key, frozenset()) | frozenset(project.identifiers)
        alike.note(key, project)
    await transaction.add_activities(created)
    await transaction.join_projects(joined)
    activities = await transaction.activities([each for each in answers if not isinstance(each, DomainError)])
    return [each if isinstance(each, DomainError) else activities[each] for each in answers]


def _to_open_case(decision: Join | Create | Contradiction | Doubt) -> Contradiction | Doubt:
    """What new evidence an open case gets: also a registration that would be clear by itself decides nothing."""
    match decision:
        case Contradiction() | Doubt():
            return decision
        case Join(key, _):
            return Contradiction((key,), "registered again while the case is open; by itself it would join")
        case Create():
            return Contradiction((), "registered again while the case is open; by itself it would be new")
