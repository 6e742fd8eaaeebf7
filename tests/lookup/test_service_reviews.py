"""Review cases: an open one holds its candidates, whoever comes second; a decision lets everything go on."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from soleclaim.core.activity_id import ActivityKey, make_activity_id
from soleclaim.core.errors import DomainError, Reason
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import (
    Activity,
    Decision,
    DecisionKind,
    EventKind,
    Likeness,
    Lock,
    LockState,
    ProjectRegistration,
    ReviewCase,
    ReviewState,
)
from soleclaim.lookup.ports import Standing
from soleclaim.lookup.service import activities, locks, reviews
from soleclaim.lookup.service.reviews import ReviewFile
from soleclaim.lookup.store.transaction import SqlTransaction
from soleclaim.policy.bundle import default_bundle
from tests.lookup.conftest import Bench, ref

FILING: Identifier = ("gec_filing_code", "FDWD2407150000123")
OTHER_FILING: Identifier = ("gec_filing_code", "FDWD2407150000124")
THIRD_FILING: Identifier = ("gec_filing_code", "FDWD2407150000125")
CODE: Identifier = ("cn_project_code", "2509-320193-89-01-544060")
VCS: Identifier = ("vcs", "1340")


async def once(at: Bench, work: Any) -> Any:
    """As the services run: repeated where the database asks for it."""
    answers: list[Any] = []

    async def keep(transaction: SqlTransaction) -> bytes:
        answers[:] = [await work(transaction)]
        return b""

    await at.store.once(at.request_key(), keep)
    return answers[0]


async def register(at: Bench, *projects: ProjectRegistration) -> list[Activity | DomainError]:
    answers: list[Activity | DomainError] = await once(at, lambda to: activities.register(to, projects))
    return answers


async def joined(at: Bench, project: ProjectRegistration) -> ActivityKey:
    """Register, and insist that it was."""
    [answer] = await register(at, project)
    assert isinstance(answer, Activity), answer
    return answer.key


async def waiting(at: Bench, project: ProjectRegistration) -> int:
    """Register, and insist on a case."""
    [answer] = await register(at, project)
    assert isinstance(answer, DomainError), answer
    assert answer.reason is Reason.IDENTITY_UNDER_REVIEW
    return int(answer.variables["case"])


async def acquire(at: Bench, *keys: ActivityKey, day: float = 0, registry: str = "ccer") -> list[Lock | DomainError]:
    requests = [at.claim(key, at.period(day), registry=registry).request for key in keys]
    answers: list[Lock | DomainError] = await once(at, lambda to: locks.acquire(to, default_bundle(), requests))
    return answers


def reasons(answers: Sequence[object]) -> list[Reason | None]:
    return [each.reason if isinstance(each, DomainError) else None for each in answers]


async def decide(
    at: Bench,
    case_id: int,
    kind: DecisionKind,
    key: ActivityKey | None = None,
    *,
    question: str = "",
    by: str = "operator/ops",
) -> ReviewFile | DomainError:
    activity_id = None if key is None else make_activity_id("CN", key)
    decision = Decision(case_id, kind, activity_id, question, "现场核实", by)
    answer: ReviewFile | DomainError = await once(at, lambda to: reviews.decide(to, default_bundle(), decision))
    return answer


async def case_of(at: Bench, case_id: int) -> ReviewCase:
    async with at.store.reading() as reader:
        found = await reader.review_case(case_id)
    assert found is not None
    return found


async def contradicted(at: Bench) -> tuple[ActivityKey, int, ProjectRegistration]:
    """An activity of ccer, and a project of gec that shares its code but has another filing code."""
    key = await joined(at, at.project(FILING, CODE))
    project = at.project(OTHER_FILING, CODE, VCS, registry="gec", name="甲子一期")
    return key, await waiting(at, project), project


class TestHolding:
    async def test_nothing_new_is_granted_on_a_candidate_of_an_open_case(self, bench: Bench) -> None:
        key = await joined(bench, bench.project(FILING, CODE))
        other = await joined(bench, bench.project())
        held, issuing = await acquire(bench, key), await acquire(bench, key, day=1)
        assert isinstance(held[0], Lock)
        assert isinstance(issuing[0], Lock)
        issued = await bench.issued(bench.claim(key, bench.period(2)))
        case = await waiting(bench, bench.project(OTHER_FILING, CODE, registry="gec", name="他方之名"))
        refused, granted = await acquire(bench, key, other, day=3)
        assert isinstance(granted, Lock)
        assert isinstance(refused, DomainError)
        assert refused.reason is Reason.IDENTITY_UNDER_REVIEW
        assert refused.variables == {"activity": f"activities/{make_activity_id('CN', key)}", "case": str(case)}
        assert "他方之名" not in str(refused)
        # A supplement is new; what was granted goes on.
        assert reasons(await acquire(bench, key, day=2)) == [Reason.IDENTITY_UNDER_REVIEW]
        assert await bench.state(issued) is LockState.ISSUED
        begun = bench.done(await bench.begin(ref(held[0])))
        bench.done(await bench.commit(bench.commitment(begun)))
        assert bench.done(await bench.release(ref(issuing[0]))).state is LockState.RELEASED

    async def test_the_dry_run_tells_it_beside_all_else(self, bench: Bench) -> None:
        key, _, _ = await contradicted(bench)
        await bench.issued(bench.claim(key, attributes=(1, 2), registry="gec"))
        async with bench.store.reading() as reader:
            told = await locks.dry_run(reader, default_bundle(), bench.claim(key).request)
        assert reasons(told) == [Reason.IDENTITY_UNDER_REVIEW, Reason.ACTIVITY_ALREADY_ISSUED]

    async def test_a_registry_that_does_not_know_the_activity_learns_nothing_of_the_case(self, bench: Bench) -> None:
        key, _, _ = await contradicted(bench)
        assert reasons(await acquire(bench, key, registry="gec")) == [Reason.ACTIVITY_NOT_REGISTERED]

    async def test_the_first_of_several_cases_is_named(self, bench: Bench) -> None:
        key, case, _ = await contradicted(bench)
        assert await waiting(bench, bench.project(THIRD_FILING, CODE, registry="gec")) > case
        async with bench.store.reading() as reader:
            assert (await reader.standing("ccer", [key]))[key] == Standing("CN", True, False, case)

    async def test_a_batch_asks_once_whether_its_activities_are_held(self, bench: Bench) -> None:
        keys = [await bench.activity() for _ in range(50)]
        await contradicted(bench)
        statements: list[str] = []
        engine = bench.store._engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda _c, _cursor, sql, *_: statements.append(sql))
        assert reasons(await acquire(bench, *keys)) == [None] * 50
        assert sum("review" in each for each in statements) == 1

    async def test_likeness_is_kept_with_each_candidate(self, bench: Bench) -> None:
        one, two = await bench.activity(), await bench.activity()
        project = bench.project()
        alike = [
            Likeness(one, 0.93, ("同名", "相距 300 m")),
            Likeness(two),
        ]
        case = await once(bench, lambda to: to.open_review(project, alike, "alike in name and place"))
        found = await case_of(bench, case)
        assert sorted(found.candidates) == sorted(alike)
        assert found.registration == project
        assert reasons(await acquire(bench, one, two)) == [Reason.IDENTITY_UNDER_REVIEW] * 2


class TestRaces:
    async def test_a_case_waits_for_grants_under_way_and_holds_the_next(self, bench: Bench) -> None:
        key = await joined(bench, bench.project(FILING, CODE))
        other = await bench.another()
        looked, order = asyncio.Event(), []

        async def grant() -> None:
            async with bench.store.transaction() as transaction:
                await transaction.bar_outcome_changes()
                assert (await transaction.standing("ccer", [key]))[key].review_case is None
                looked.set()
                await asyncio.sleep(0.2)
                await transaction.grant([bench.claim(key)])
                order.append("granted")

        async def open_case() -> None:
            await looked.wait()
            await waiting(other, other.project(OTHER_FILING, CODE, registry="gec"))
            order.append("opened")

        await asyncio.gather(grant(), open_case())
        assert order == ["granted", "opened"]
        assert reasons(await acquire(bench, key, day=1)) == [Reason.IDENTITY_UNDER_REVIEW]

    async def test_a_grant_that_comes_while_a_case_opens_sees_it(self, bench: Bench) -> None:
        key = await joined(bench, bench.project(FILING, CODE))
        other = await bench.another()
        opened = asyncio.Event()

        async def open_case() -> None:
            async with bench.store.transaction() as transaction:
                await transaction.bar_grants()
                await transaction.open_review(bench.project(), [key], "alike")
                opened.set()
                await asyncio.sleep(0.2)

        async def grant() -> list[Lock | DomainError]:
            await opened.wait()
            return await acquire(other, key)

        _, answers = await asyncio.gather(open_case(), grant())
        assert reasons(answers) == [Reason.IDENTITY_UNDER_REVIEW]

    async def test_no_grant_follows_the_opening_of_its_case_in_the_stream(self, bench: Bench) -> None:
        """Measured activities, so that grants hold what the openers hold: nobody is turned away as busy."""
        sides = [bench, *[await bench.another() for _ in range(3)]]
        codes: list[Identifier] = [("cn_project_code", f"2509-320193-89-01-{number:06d}") for number in range(12)]
        keys = [await joined(bench, bench.project(code, ("vcs", str(i + 1)))) for i, code in enumerate(codes)]
        async with bench.store.transaction() as transaction:
            await transaction.record_outcomes(
                [bench.outcome(key, bench.period(day), 10**9, unit="kgCO2e") for key in keys for day in range(8)]
            )

        async def grants(at: Bench, first: int) -> None:
            for day in range(first, 8, 2):
                answers = await acquire(at, *keys, day=day)
                assert set(reasons(answers)) <= {None, Reason.IDENTITY_UNDER_REVIEW}

        async def cases(at: Bench, mine: slice) -> None:
            for i, code in enumerate(codes[mine]):
                other = ("cn_project_code", f"2509-320193-89-02-{i:06d}")
                vcs = ("vcs", str(1 + codes.index(code)))
                await waiting(at, at.project(other, vcs, registry="gec", native_id=f"G{codes.index(code)}"))

        await asyncio.gather(
            grants(sides[0], 0), grants(sides[1], 1), cases(sides[2], slice(0, 6)), cases(sides[3], slice(6, 12))
        )
        held_by = {int(row.case_id): row.activity_key for row in await bench.sql("SELECT * FROM review_candidate")}
        assert sorted(held_by.values()) == sorted(keys)
        rows = (
            await bench.sql(
                "SELECT h.kind, h.activity_key, h.detail FROM outbox o JOIN history_entry h ON h.tx_id = o.tx_id "
                "ORDER BY o.position, h.entry_id"
            )
            if await bench.events()
            else []
        )
        opened: set[int] = set()
        for kind, key, detail in rows:
            if kind == EventKind.REVIEW_OPENED:
                opened.add(held_by[int(detail.partition(":")[0])])
            if kind == EventKind.LOCK_GRANTED:
                assert key not in opened
        assert opened == set(keys)


class TestDeciding:
    async def test_same_joins_the_waiting_registration_by_itself(self, bench: Bench) -> None:
        key, case, project = await contradicted(bench)
        file = await decide(bench, case, DecisionKind.SAME, key)
        assert isinstance(file, ReviewFile)
        assert (file.case.state, file.case.stands_on) == (ReviewState.DECIDED, key)
        async with bench.store.reading() as reader:
            assert await reader.activity_of_project("gec", project.native_project_id) == key
            activity = (await reader.activities([key]))[key]
        assert set(activity.identifiers) == {FILING, OTHER_FILING, CODE, VCS}
        assert reasons(await acquire(bench, key)) == [None]
        # The registry, which knows nothing of that, sends it again; so may a third one with either code.
        assert await joined(bench, project) == key
        assert await joined(bench, bench.project(OTHER_FILING, registry="arb")) == key
        assert (await case_of(bench, case)).state is ReviewState.DECIDED
        # Only a third code is something new.
        assert await waiting(bench, bench.project(THIRD_FILING, CODE, registry="arb")) != case

    async def test_different_makes_an_activity_of_its_own_and_leaves_identifiers_where_they_are(
        self, bench: Bench
    ) -> None:
        key, case, project = await contradicted(bench)
        file = await decide(bench, case, DecisionKind.DIFFERENT)
        assert isinstance(file, ReviewFile)
        own = file.case.stands_on
        assert own not in (None, key)
        assert own is not None
        async with bench.store.reading() as reader:
            found = await reader.activities([key, own])
            assert await reader.parents_of(own) == []
        assert set(found[key].identifiers) == {FILING, CODE}
        assert set(found[own].identifiers) == {OTHER_FILING, VCS}
        assert found[own].native_projects == (("gec", project.native_project_id),)
        assert CODE in file.case.registration.identifiers, "kept in the case"
        assert await joined(bench, project) == own, "the shared code contradicts nothing any more"
        assert reasons(await acquire(bench, key)) == [None]
        assert reasons(await acquire(bench, own, registry="gec")) == [None]

    async def test_part_of_is_different_and_remembered(self, bench: Bench) -> None:
        key, case, _ = await contradicted(bench)
        file = await decide(bench, case, DecisionKind.PART_OF, key)
        assert isinstance(file, ReviewFile)
        assert file.case.stands_on not in (None, key)
        assert file.case.stands_on is not None
        async with bench.store.reading() as reader:
            assert await reader.parents_of(file.case.stands_on) == [key]
            assert await reader.parents_of(key) == []

    async def test_a_question_leaves_the_case_open(self, bench: Bench) -> None:
        key, case, project = await contradicted(bench)
        file = await decide(bench, case, DecisionKind.ASK, question="二期是否单独计量？")
        assert isinstance(file, ReviewFile)
        assert (file.case.state, file.case.question) == (ReviewState.OPEN, "二期是否单独计量？")
        assert reasons(await acquire(bench, key)) == [Reason.IDENTITY_UNDER_REVIEW]
        assert await waiting(bench, project) == case
        done = await decide(bench, case, DecisionKind.SAME, key)
        assert isinstance(done, ReviewFile)
        assert done.case.question == ""
        assert [(each.kind, each.question) for each in done.decisions] == [
            (DecisionKind.ASK, "二期是否单独计量？"),
            (DecisionKind.SAME, ""),
        ]
        assert {(each.reason, each.decider) for each in done.decisions} == {("现场核实", "operator/ops")}

    async def test_new_evidence_updates_an_open_case_and_opens_a_decided_one(self, bench: Bench) -> None:
        key, case, project = await contradicted(bench)
        other = await joined(bench, bench.project(THIRD_FILING))
        # Without the contradiction it would join; still a person decides, and nothing is freed before.
        corrected = bench.project(CODE, registry="gec", native_id=project.native_project_id, name="改名")
        assert await waiting(bench, corrected) == case
        found = await case_of(bench, case)
        assert (found.registration, {each.key for each in found.candidates}) == (corrected, {key})
        assert isinstance(await decide(bench, case, DecisionKind.SAME, key), ReviewFile)
        assert await joined(bench, corrected) == key
        again = bench.project(CODE, THIRD_FILING, registry="gec", native_id=project.native_project_id)
        assert await waiting(bench, again) == case
        found = await case_of(bench, case)
        assert found.state is ReviewState.OPEN
        assert {each.key for each in found.candidates} == {key, other}
        assert reasons(await acquire(bench, key, other)) == [Reason.IDENTITY_UNDER_REVIEW] * 2
        # It stands on one of them already, and is told apart from the other.
        file = await decide(bench, case, DecisionKind.DIFFERENT)
        assert isinstance(file, ReviewFile)
        assert file.case.stands_on == key
        assert await joined(bench, again) == key
        async with bench.store.reading() as reader:
            sent = [each.registration for each in await reader.review_evidence(case)]
        assert sent == [project, corrected, again], "nothing that was sent is lost"

    async def test_a_project_that_stands_on_the_only_candidate_is_not_told_apart_from_it(self, bench: Bench) -> None:
        project = bench.project(FILING, CODE)
        key = await joined(bench, project)
        case = await waiting(bench, bench.project(OTHER_FILING, native_id=project.native_project_id))
        refused = await decide(bench, case, DecisionKind.DIFFERENT)
        assert reasons([refused]) == [Reason.REVIEW_PROJECT_STANDS]
        assert isinstance(await decide(bench, case, DecisionKind.SAME, key), ReviewFile)

    async def test_codes_that_contradict_within_one_registration_may_be_let_stand(self, bench: Bench) -> None:
        project = bench.project(FILING, OTHER_FILING)
        case = await waiting(bench, project)
        assert (await case_of(bench, case)).candidates == ()
        file = await decide(bench, case, DecisionKind.DIFFERENT)
        assert isinstance(file, ReviewFile)
        assert await joined(bench, project) == file.case.stands_on

    @pytest.mark.parametrize("kind", [DecisionKind.SAME, DecisionKind.DIFFERENT, DecisionKind.PART_OF])
    async def test_what_registered_while_the_case_waited_is_decided_on_as_well(
        self, bench: Bench, kind: DecisionKind
    ) -> None:
        """Else the project would stand apart from an activity that has an identifier of it."""
        key, case, project = await contradicted(bench)
        late = await joined(bench, bench.project(VCS, registry="ccer", name="Q"))
        named = None if kind is DecisionKind.DIFFERENT else key
        refused = await decide(bench, case, kind, named)
        assert isinstance(refused, DomainError)
        assert refused.reason is Reason.REVIEW_CASE_CHANGED
        assert refused.variables["activities"] == f"activities/{make_activity_id('CN', late)}"
        found = await case_of(bench, case)
        assert (found.state, found.stands_on) == (ReviewState.OPEN, None)
        assert {each.key for each in found.candidates} == {key, late}
        assert reasons(await acquire(bench, late)) == [Reason.IDENTITY_UNDER_REVIEW]
        file = await decide(bench, case, kind, named)
        assert isinstance(file, ReviewFile)
        assert file.case.stands_on is not None
        async with bench.store.reading() as reader:
            survivor = await reader.survivor_of(late)
        assert survivor == (key if kind is DecisionKind.SAME else late)
        assert await joined(bench, project) == file.case.stands_on

    async def test_a_confirmation_sees_what_registered_since_the_proposal(self, bench: Bench) -> None:
        one, other = await joined(bench, bench.project(FILING)), await joined(bench, bench.project(CODE))
        await bench.issued(bench.claim(one))
        case = await waiting(bench, bench.project(FILING, CODE, VCS, registry="gec"))
        proposed = await decide(bench, case, DecisionKind.SAME, one)
        assert isinstance(proposed, ReviewFile)
        assert proposed.case.awaits_confirmation
        late = await joined(bench, bench.project(VCS))

        async def work(transaction: SqlTransaction) -> ReviewFile | DomainError:
            return await reviews.confirm(transaction, default_bundle(), case, reason="复核", decider="operator/other")

        assert reasons([await once(bench, work)]) == [Reason.REVIEW_CASE_CHANGED]
        found = await case_of(bench, case)
        assert not found.awaits_confirmation, "what is proposed was proposed without it"
        assert {each.key for each in found.candidates} == {one, other, late}

    async def test_what_was_sent_is_settled_against_whom_the_person_saw_and_no_other(self, bench: Bench) -> None:
        """VCS was nobody's when the case was decided, and went to the project; it is another's since a split."""
        key, case, project = await contradicted(bench)
        file = await decide(bench, case, DecisionKind.DIFFERENT)
        assert isinstance(file, ReviewFile)
        assert file.case.stands_on is not None
        own = file.case.stands_on
        other = await joined(bench, bench.project(THIRD_FILING))
        await bench.sql("UPDATE strong_identifier SET activity_key = :key WHERE scheme = 'vcs'", key=other)
        assert await waiting(bench, project) == case
        assert {each.key for each in (await case_of(bench, case)).candidates} == {own, other}
        assert reasons(await acquire(bench, key)) == [None], "the one it was told apart from is left alone"

    async def test_what_was_settled_stays_so_when_the_other_side_is_merged(self, bench: Bench) -> None:
        key, case, project = await contradicted(bench)
        file = await decide(bench, case, DecisionKind.DIFFERENT)
        assert isinstance(file, ReviewFile)
        other = await joined(bench, bench.project(("vcs", "77")))
        merging = await waiting(bench, bench.project(CODE, ("vcs", "77"), registry="arb"))
        assert isinstance(await decide(bench, merging, DecisionKind.SAME, other), ReviewFile)
        async with bench.store.reading() as reader:
            assert await reader.survivor_of(key) == other
        assert await joined(bench, project) == file.case.stands_on

    async def test_what_cannot_be_decided_changes_nothing(self, bench: Bench) -> None:
        key, case, _ = await contradicted(bench)
        other = await joined(bench, bench.project(THIRD_FILING))
        before = await case_of(bench, case)
        for kind, named, reason in (
            (DecisionKind.SAME, other, Reason.REVIEW_ACTIVITY_NO_CANDIDATE),
            (DecisionKind.PART_OF, bench.key(), Reason.REVIEW_ACTIVITY_NO_CANDIDATE),
        ):
            assert reasons([await decide(bench, case, kind, named)]) == [reason]
        assert reasons([await decide(bench, case + 1, DecisionKind.DIFFERENT)]) == [Reason.REVIEW_CASE_UNKNOWN]
        assert await case_of(bench, case) == before
        assert isinstance(await decide(bench, case, DecisionKind.SAME, key), ReviewFile)
        assert reasons([await decide(bench, case, DecisionKind.DIFFERENT)]) == [Reason.REVIEW_CASE_DECIDED]

    async def test_an_activity_is_never_a_part_of_itself(self, bench: Bench) -> None:
        site = bench.project(FILING, registry="gec", native_id="SITE")
        whole = await joined(bench, site)
        phase = bench.project(CODE, registry="gec", native_id="PHASE")
        part = await joined(bench, phase)
        case = await once(bench, lambda to: to.open_review(phase, [whole, part], "alike"))
        assert isinstance(await decide(bench, case, DecisionKind.PART_OF, whole), ReviewFile)
        back = await once(bench, lambda to: to.open_review(site, [whole, part], "alike"))
        for named in (part, whole):
            refused = await decide(bench, back, DecisionKind.PART_OF, named)
            assert reasons([refused]) == [Reason.ACTIVITY_PART_OF_ITSELF]

    async def test_of_two_decisions_at_once_one_is_taken(self, bench: Bench) -> None:
        other = await bench.another()
        for number in range(4):
            code = ("cn_project_code", f"2509-320193-89-01-{number:06d}")
            key = await joined(bench, bench.project(code))
            case = await waiting(bench, bench.project(code, FILING, OTHER_FILING, registry="gec"))
            answers = await asyncio.gather(
                decide(bench, case, DecisionKind.SAME, key), decide(other, case, DecisionKind.DIFFERENT)
            )
            assert sorted(map(str, reasons(answers))) == ["None", "Reason.REVIEW_CASE_DECIDED"]
            assert await bench.sql("SELECT count(*) FROM review_decision WHERE case_id = :case", case=case) == [(1,)]

    async def test_every_decision_stands_in_the_history(self, bench: Bench) -> None:
        key, case, _ = await contradicted(bench)
        await decide(bench, case, DecisionKind.ASK, question="哪一个？")
        await decide(bench, case, DecisionKind.SAME, key)
        kinds = [each.kind for each in await bench.events()]
        assert kinds == [
            EventKind.ACTIVITY_REGISTERED,
            EventKind.REVIEW_OPENED,
            EventKind.REVIEW_DECIDED,
            EventKind.PROJECT_JOINED,
            EventKind.REVIEW_DECIDED,
        ]
        rows = await bench.sql("SELECT detail FROM history_entry WHERE kind = 13 ORDER BY entry_id")
        asked, decided = (json.loads(row.detail) for row in rows)
        assert (asked["decision"], asked["question"]) == ("ASK", "哪一个？")
        assert decided == {
            "case": case,
            "decision": "SAME",
            "activity": make_activity_id("CN", key),
            "question": "",
            "reason": "现场核实",
            "decider": "operator/ops",
            "proposed": False,
        }

    @pytest.mark.parametrize("table", ["review_decision", "review_evidence"])
    async def test_what_was_sent_and_decided_is_never_changed(self, bench: Bench, table: str) -> None:
        key, case, _ = await contradicted(bench)
        await decide(bench, case, DecisionKind.SAME, key)
        for statement in (f"UPDATE {table} SET number = 7", f"DELETE FROM {table}"):  # noqa: S608
            with pytest.raises(DBAPIError, match="append-only"):
                await bench.sql(statement)

    async def test_cases_are_listed_page_by_page(self, bench: Bench) -> None:
        key, first, _ = await contradicted(bench)
        second = await waiting(bench, bench.project(FILING, OTHER_FILING))
        await decide(bench, first, DecisionKind.SAME, key)
        async with bench.store.reading() as reader:

            async def listed(**narrowed: Any) -> list[int]:
                wanted = {"registry": None, "state": None, "after": 0, "limit": 10} | narrowed
                return [each.case_id for each in await reader.list_review_cases(**wanted)]

            assert await listed() == [first, second]
            assert await listed(limit=1) == [first]
            assert await listed(after=first) == [second]
            assert await listed(registry="gec") == [first]
            assert await listed(state=ReviewState.OPEN) == [second]
            assert await listed(state=ReviewState.DECIDED, registry="ccer") == []
