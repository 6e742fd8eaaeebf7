"""Tables of review: cases, their candidates, what was sent to them, what was decided. Contracts: ``lookup.ports``.

Whatever opens or decides a case bars grants: these transactions come one after another, and no grant is under way.
"""

import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from soleclaim.core.activity_id import ActivityKey
from soleclaim.lookup.domain import (
    Decision,
    DecisionKind,
    DecisionTaken,
    EventKind,
    Likeness,
    ProjectRegistration,
    ReviewCase,
    ReviewEvidence,
    ReviewOfProject,
    ReviewState,
)
from soleclaim.lookup.store.descriptions import read_description, tell_description
from soleclaim.lookup.store.rows import to_instant, to_us
from soleclaim.lookup.store.unit_of_work import UnitOfWork


class ReviewTables(UnitOfWork):
    """The part of a transaction that holds what a person must decide."""

    @abstractmethod
    async def survivor_of(self, key: ActivityKey) -> ActivityKey:
        """See ``Reader``."""

    async def review_case(self, case_id: int) -> ReviewCase | None:
        """See ``Reader``."""
        cases = await self._review_cases("c.case_id = :case_id", case_id=case_id)
        return cases[0] if cases else None

    async def list_review_cases(
        self, *, registry: str | None, state: ReviewState | None, after: int, limit: int
    ) -> list[ReviewCase]:
        """See ``Reader``."""
        values: dict[str, object] = {"after": after, "limit": limit}
        condition = "c.case_id > :after"
        if registry is not None:
            condition, values["registry"] = f"{condition} AND c.registry = :registry", registry
        if state is not None:
            condition, values["state"] = f"{condition} AND c.state = :state", int(state)
        return await self._review_cases(f"{condition} ORDER BY c.case_id LIMIT :limit", **values)

    async def _review_cases(self, condition: str, **values: object) -> list[ReviewCase]:
        rows = await self._run(
            "SELECT c.case_id, c.registry, c.native_project_id, c.registration, c.detail, c.state, c.question, "
            "c.create_us, c.update_us, c.proposal, p.activity_key FROM review_case c LEFT JOIN native_project p "
            f"ON p.registry = c.registry AND p.native_project_id = c.native_project_id WHERE {condition}",
            **values,
        )
        candidates = await self._candidates(row.case_id for row in rows)
        return [
            ReviewCase(
                case_id=row.case_id,
                state=ReviewState(row.state),
                registration=read_registration(row.registry, row.native_project_id, row.registration),
                candidates=tuple(candidates.get(row.case_id, ())),
                stands_on=None if row.activity_key is None else ActivityKey(row.activity_key),
                detail=row.detail,
                question=row.question,
                awaits_confirmation=row.proposal is not None,
                create_time=to_instant(row.create_us),
                update_time=to_instant(row.update_us or row.create_us),
            )
            for row in rows
        ]

    async def _candidates(self, case_ids: Iterable[int]) -> dict[int, list[Likeness]]:
        items, values = self.relation((("case_id", "int"),), ((each,) for each in case_ids))
        found: dict[int, list[Likeness]] = defaultdict(list)
        for case_id, key, probability, reasons in await self._run(
            "SELECT c.case_id, c.activity_key, c.probability, c.reasons FROM review_candidate c "
            f"JOIN {items} ON item.case_id = c.case_id JOIN review_case r ON r.case_id = c.case_id "
            # An open case shows what it holds; what an earlier round was about is settled.
            f"WHERE c.holding OR r.state = {ReviewState.DECIDED:d} ORDER BY c.case_id, c.activity_key",
            **values,
        ):
            found[case_id].append(Likeness(ActivityKey(key), probability, tuple(json.loads(reasons))))
        return found

    async def review_evidence(self, case_id: int) -> list[ReviewEvidence]:
        """See ``Reader``."""
        rows = await self._run(
            "SELECT c.registry, c.native_project_id, e.registration, e.create_us FROM review_evidence e "
            "JOIN review_case c ON c.case_id = e.case_id WHERE e.case_id = :case_id ORDER BY e.number",
            case_id=case_id,
        )
        return [ReviewEvidence(read_registration(*row[:3]), to_instant(row[3])) for row in rows]

    async def review_decisions(self, case_ids: Sequence[int]) -> dict[int, list[DecisionTaken]]:
        """See ``Reader``."""
        items, values = self.relation((("case_id", "int"),), ((each,) for each in case_ids))
        found: dict[int, list[DecisionTaken]] = defaultdict(list)
        for row in await self._run(
            "SELECT d.case_id, d.kind, d.activity_key, d.question, d.reason, d.decider, d.proposed, d.create_us "
            f"FROM review_decision d JOIN {items} ON item.case_id = d.case_id ORDER BY d.case_id, d.number",
            **values,
        ):
            key = None if row.activity_key is None else ActivityKey(row.activity_key)
            found[row.case_id].append(
                DecisionTaken(
                    kind=DecisionKind(row.kind),
                    activity_key=key,
                    question=row.question,
                    reason=row.reason,
                    decider=row.decider,
                    proposed=bool(row.proposed),
                    create_time=to_instant(row.create_us),
                )
            )
        return dict(found)

    async def reviews_of(self, projects: Sequence[ProjectRegistration]) -> dict[tuple[str, str], ReviewOfProject]:
        """See ``Transaction``."""
        items, values = self.relation(
            (("registry", "text"), ("project", "text")),
            dict.fromkeys((each.registry, each.native_project_id) for each in projects),
        )
        rows = await self._run(
            "SELECT c.registry, c.native_project_id, c.case_id, c.state FROM "
            f"{items} JOIN review_case c ON c.registry = item.registry AND c.native_project_id = item.project",
            **values,
        )
        return {
            (registry, project): ReviewOfProject(case_id, state == ReviewState.OPEN)
            for registry, project, case_id, state in rows
        }

    async def open_review(
        self, project: ProjectRegistration, candidates: Sequence[ActivityKey | Likeness], detail: str
    ) -> int:
        """See ``Transaction``."""
        await self.bar_grants_first()
        alike = {each.key: each for each in map(_likeness, candidates)}
        known = await self._run(
            "SELECT case_id, state, registration FROM review_case "
            "WHERE registry = :registry AND native_project_id = :project",
            registry=project.registry,
            project=project.native_project_id,
        )
        if not known:
            return await self._open_case(project, list(alike.values()), detail)
        ((case_id, state, registration),) = known
        if state == ReviewState.OPEN and registration == tell_registration(project):
            held = (await self._candidates([case_id])).get(case_id, ())
            if alike.keys() <= {each.key for each in held}:
                return int(case_id)
        await self._update_case(case_id, project, list(alike.values()), detail, was_open=state == ReviewState.OPEN)
        return int(case_id)

    async def _open_case(self, project: ProjectRegistration, candidates: Sequence[Likeness], detail: str) -> int:
        (case_id,) = await self.draw("review_case_id", 1)
        await self._run(
            "INSERT INTO review_case (case_id, registry, native_project_id, candidates, registration, detail, state, "
            "question, create_us, update_us) VALUES (:case_id, :registry, :project, :candidates, :registration, "
            f":detail, {ReviewState.OPEN:d}, '', :now, :now)",
            case_id=case_id,
            registry=project.registry,
            project=project.native_project_id,
            candidates=json.dumps([each.key for each in candidates]),
            registration=tell_registration(project),
            detail=detail,
            now=await self.now_us(),
        )
        await self._add_evidence(case_id, project, candidates, detail)
        await self._note(
            [(EventKind.REVIEW_OPENED, None, project.country, project.registry, None, 0, f"{case_id}: {detail}")]
        )
        return case_id

    async def _update_case(
        self, case_id: int, project: ProjectRegistration, candidates: Sequence[Likeness], detail: str, *, was_open: bool
    ) -> None:
        """New evidence. A candidate is freed by a person alone: those of an open case stay."""
        keys = [each.key for each in candidates]
        if was_open:
            keys += [each.key for each in (await self._candidates([case_id])).get(case_id, ()) if each.key not in keys]
        await self._run(
            "UPDATE review_case SET candidates = :candidates, registration = :registration, detail = :detail, "
            f"state = {ReviewState.OPEN:d}, proposal = NULL, update_us = :now WHERE case_id = :case_id",
            case_id=case_id,
            candidates=json.dumps(keys),
            registration=tell_registration(project),
            detail=detail,
            now=await self.now_us(),
        )
        await self._add_evidence(case_id, project, candidates, detail)
        await self._note(
            [(EventKind.REVIEW_UPDATED, None, project.country, project.registry, None, 0, f"{case_id}: {detail}")]
        )

    async def _add_evidence(
        self, case_id: int, project: ProjectRegistration, candidates: Sequence[Likeness], detail: str
    ) -> None:
        await self._run(
            "INSERT INTO review_evidence (case_id, number, registration, candidates, detail, create_us) "
            "SELECT :case_id, count(*) + 1, :registration, :candidates, :detail, :now FROM review_evidence "
            "WHERE case_id = :case_id",
            case_id=case_id,
            registration=tell_registration(project),
            candidates=json.dumps(
                [[each.key, each.probability, list(each.reasons)] for each in candidates], ensure_ascii=False
            ),
            detail=detail,
            now=await self.now_us(),
        )
        for each in candidates:
            await self._run(
                "INSERT INTO review_candidate (case_id, activity_key, probability, reasons, holding) "
                "VALUES (:case_id, :key, :probability, :reasons, TRUE) ON CONFLICT (case_id, activity_key) "
                "DO UPDATE SET probability = excluded.probability, reasons = excluded.reasons, holding = TRUE",
                case_id=case_id,
                key=each.key,
                probability=each.probability,
                reasons=json.dumps(list(each.reasons), ensure_ascii=False),
            )

    async def record_decision(
        self, decision: Decision, activity_key: ActivityKey | None, *, proposed: bool = False
    ) -> None:
        """See ``Transaction``."""
        ((number,),) = await self._run(
            "INSERT INTO review_decision (case_id, number, kind, activity_key, question, reason, decider, proposed, "
            "create_us) SELECT :case_id, count(*) + 1, :kind, :key, :question, :reason, :decider, :proposed, :now "
            "FROM review_decision WHERE case_id = :case_id RETURNING number",
            case_id=decision.case_id,
            kind=int(decision.kind),
            key=activity_key,
            question=decision.question,
            reason=decision.reason,
            decider=decision.decider,
            proposed=proposed,
            now=await self.now_us(),
        )
        is_open = proposed or decision.kind in (DecisionKind.ASK, DecisionKind.REOPEN)
        ((registry, registration),) = await self._run(
            "UPDATE review_case SET state = :state, question = :question, proposal = :proposal, update_us = :now "
            "WHERE case_id = :case_id RETURNING registry, registration",
            case_id=decision.case_id,
            state=int(ReviewState.OPEN if is_open else ReviewState.DECIDED),
            question=decision.question,
            proposal=number if proposed else None,
            now=await self.now_us(),
        )
        if not is_open:
            await self._run(
                "UPDATE review_candidate SET holding = FALSE WHERE case_id = :case_id AND holding",
                case_id=decision.case_id,
            )
        detail = json.dumps(
            {
                "case": decision.case_id,
                "decision": decision.kind.name,
                "activity": decision.activity_id,
                "question": decision.question,
                "reason": decision.reason,
                "decider": decision.decider,
                "proposed": proposed,
            },
            ensure_ascii=False,
        )
        country = json.loads(registration)["country"]
        await self._note([(EventKind.REVIEW_DECIDED, activity_key, country, registry, None, 0, detail)])

    async def add_part(self, child: ActivityKey, parent: ActivityKey, case_id: int) -> None:
        """See ``Transaction``."""
        await self._run(
            "INSERT INTO activity_part (child_key, parent_key, case_id, create_us) "
            "VALUES (:child, :parent, :case_id, :now) ON CONFLICT (child_key, parent_key) DO NOTHING",
            child=child,
            parent=parent,
            case_id=case_id,
            now=await self.now_us(),
        )

    async def take_back_parts(self, case_id: int) -> None:
        """See ``Transaction``."""
        await self._run("DELETE FROM activity_part WHERE case_id = :case_id", case_id=case_id)

    async def parents_of(self, key: ActivityKey, *, but_of: int = 0) -> list[ActivityKey]:
        """See ``Reader``."""
        rows = await self._run(
            "SELECT parent_key FROM activity_part WHERE child_key = :key AND case_id <> :but_of "
            "ORDER BY create_us, parent_key",
            key=key,
            but_of=but_of,
        )
        return [ActivityKey(row[0]) for row in rows]

    async def same_stands(self, case_id: int, decided: datetime) -> bool:
        """See ``Reader``."""
        undone = await self._run(
            "SELECT 1 FROM activity_merge m WHERE m.case_id = :case_id AND m.create_us = :decided AND NOT EXISTS "
            "(SELECT 1 FROM activity_alias a WHERE a.alias_key = m.merged_key AND a.case_id = m.case_id "
            "AND a.create_us = m.create_us)",
            case_id=case_id,
            decided=to_us(decided),
        )
        return not undone

    async def hold_again(self, case_id: int, stands_on: ActivityKey | None) -> None:
        """See ``Transaction``."""
        ((candidates,),) = await self._run(
            "SELECT candidates FROM review_case WHERE case_id = :case_id", case_id=case_id
        )
        keys = [await self.survivor_of(ActivityKey(each)) for each in json.loads(candidates)]
        for key in dict.fromkeys([*keys, *([] if stands_on is None else [stands_on])]):
            await self._run(
                "INSERT INTO review_candidate (case_id, activity_key, reasons, holding) "
                "VALUES (:case_id, :key, '[]', TRUE) ON CONFLICT (case_id, activity_key) DO UPDATE SET holding = TRUE",
                case_id=case_id,
                key=key,
            )


def _likeness(candidate: ActivityKey | Likeness) -> Likeness:
    return candidate if isinstance(candidate, Likeness) else Likeness(candidate)


def tell_registration(project: ProjectRegistration) -> str:
    """A registration as it is kept; the same one is always the same text."""
    told: dict[str, Any] = {
        "country": project.country,
        "activity_type": project.activity_type,
        "display_name": project.display_name,
        "time_zone": project.time_zone,
        "identifiers": list(project.identifiers),
    }
    if project.description is not None:
        told["description"] = tell_description(project.description)
    return json.dumps(told, ensure_ascii=False)


def read_registration(registry: str, native_project_id: str, told: str) -> ProjectRegistration:
    """From how it is kept."""
    fields: dict[str, Any] = json.loads(told)
    fields["identifiers"] = tuple((scheme, value) for scheme, value in fields["identifiers"])
    if "description" in fields:
        fields["description"] = read_description(fields["description"])
    return ProjectRegistration(registry=registry, native_project_id=native_project_id, **fields)
