"""Review cases over the wire: held, read by those who may, decided by operators, and everybody goes on."""

import asyncio
import json
from typing import Any

from soleclaim.api.common.v1.types_pb2 import Identifier
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import event_service_pb2 as event_pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb2
from soleclaim.api.lookup.v1 import review_service_pb2 as pb2
from soleclaim.core.errors import Reason
from soleclaim.core.identity import Caller
from soleclaim.lookup.grpc.reviews import MAX_EVIDENCE
from tests.wire.conftest import (
    ARB,
    CCER,
    GEC,
    OPERATOR,
    REGULATOR,
    SECOND_OPERATOR,
    Party,
    Wire,
    fresh,
    meter,
    month,
    project,
    refused,
    run_command,
    told,
    violations,
    wish,
)
from tests.wire.test_activities import filing_code

SAME, DIFFERENT = pb2.REVIEW_DECISION_KIND_SAME, pb2.REVIEW_DECISION_KIND_DIFFERENT
PART_OF, ASK = pb2.REVIEW_DECISION_KIND_PART_OF, pb2.REVIEW_DECISION_KIND_ASK


def verdict(case: str, kind: pb2.ReviewDecisionKind.ValueType, **changed: Any) -> pb2.DecideReviewCaseRequest:
    fields: dict[str, Any] = {"request_id": fresh(), "name": case, "kind": kind, "reason": "现场核实"}
    return pb2.DecideReviewCaseRequest(**fields | changed)


async def contradicted(ccer: Party, gec: Party) -> tuple[str, str, Any]:
    """An activity of ccer, the case that gec's registration opens, and that registration."""
    shared = meter()
    activity = (await ccer.register(shared, filing_code())).name
    scheme, value = filing_code()
    identifiers = [Identifier(scheme=shared[0], value=shared[1]), Identifier(scheme=scheme, value=value)]
    request = project("gec", identifiers=identifiers, display_name="甲子一期")
    refusal = await refused(gec("RegisterActivity", request), Reason.IDENTITY_UNDER_REVIEW)
    return activity, f"reviewCases/{refusal.variables['case']}", request


async def got(party: Party, case: str) -> pb2.ReviewCase:
    found: pb2.ReviewCase = await party("GetReviewCase", pb2.GetReviewCaseRequest(name=case))
    return found


async def test_what_came_after_the_person_looked_is_not_decided_on(wire: Wire, ccer: Party, gec: Party) -> None:
    operator = await wire.party(OPERATOR)
    activity, case, request = await contradicted(ccer, gec)
    seen = (await got(operator, case)).update_time
    third = meter()
    other = (await ccer.register(third)).name
    request.request_id = fresh()
    request.identifiers.append(Identifier(scheme=third[0], value=third[1]))
    await refused(gec("RegisterActivity", request), Reason.IDENTITY_UNDER_REVIEW)
    refusal = await refused(
        operator("DecideReviewCase", verdict(case, SAME, activity=activity, seen_update_time=seen)),
        Reason.REVIEW_CASE_NEWER,
    )
    found = await got(operator, case)
    assert refusal.variables["case"] == case
    assert {each.activity.name for each in found.candidates} == {activity, other}
    await operator("DecideReviewCase", verdict(case, SAME, activity=activity, seen_update_time=found.update_time))


async def test_a_case_with_any_amount_of_evidence_can_be_read(wire: Wire, ccer: Party, gec: Party) -> None:
    operator = await wire.party(OPERATOR)
    _, case, request = await contradicted(ccer, gec)
    for number in range(MAX_EVIDENCE + 3):
        request.request_id, request.display_name = fresh(), f"甲子{number}期"
        await refused(gec("RegisterActivity", request), Reason.IDENTITY_UNDER_REVIEW)
    evidence = (await got(operator, case)).evidence
    assert len(evidence) == MAX_EVIDENCE
    assert evidence[-1].display_name == f"甲子{MAX_EVIDENCE + 2}期"


async def test_a_held_activity_goes_on_when_an_operator_decides(wire: Wire, ccer: Party, gec: Party) -> None:
    operator = await wire.party(OPERATOR)
    before = await ccer.acquire((await ccer.register(meter())).name)
    activity, case, request = await contradicted(ccer, gec)
    refusal = await refused(ccer.acquire(activity), Reason.IDENTITY_UNDER_REVIEW)
    assert refusal.variables == {"case": case.partition("/")[2], "activity": activity}
    assert request.native_project.native_project_id not in str(refusal)
    check = lock_pb2.CheckIssuanceLockRequest(request=wish("ccer", activity))
    told_by_check = [told(each).reason for each in (await ccer("CheckIssuanceLock", check)).refusals]
    assert told_by_check == [Reason.IDENTITY_UNDER_REVIEW]
    await ccer.begin(before)

    seen = await got(operator, case)
    assert seen.state == pb2.REVIEW_CASE_STATE_OPEN
    assert seen.registration.native_project == request.native_project
    assert [each.activity.name for each in seen.candidates] == [activity]
    assert not seen.candidates[0].HasField("probability")
    decision = verdict(case, SAME, activity=activity)
    decided = await operator("DecideReviewCase", decision)
    assert (decided.state, decided.activity) == (pb2.REVIEW_CASE_STATE_DECIDED, activity)
    assert await operator("DecideReviewCase", decision) == decided, "a repeat gets the first answer"
    [kept] = decided.decisions
    assert (kept.kind, kept.activity, kept.reason, kept.decider) == (SAME, activity, "现场核实", "operator/ops")
    await refused(operator("DecideReviewCase", verdict(case, DIFFERENT)), Reason.REVIEW_CASE_DECIDED)

    request.request_id = fresh()
    assert (await gec("RegisterActivity", request)).name == activity
    await ccer.acquire(activity)


async def test_a_refused_decision_is_refused_alike_on_every_repeat(wire: Wire, ccer: Party, gec: Party) -> None:
    operator = await wire.party(OPERATOR)
    activity, case, _ = await contradicted(ccer, gec)
    other = await wire.activity(CCER)
    wrong = verdict(case, SAME, activity=other)
    first = await refused(operator("DecideReviewCase", wrong), Reason.REVIEW_ACTIVITY_NO_CANDIDATE)
    await operator("DecideReviewCase", verdict(case, SAME, activity=activity))
    again = await refused(operator("DecideReviewCase", wrong), Reason.REVIEW_ACTIVITY_NO_CANDIDATE)
    assert again.variables == first.variables == {"activity": other, "case": case}


async def test_who_may_read_and_decide(wire: Wire, ccer: Party, gec: Party) -> None:
    operator, regulator = await wire.party(OPERATOR), await wire.party(REGULATOR)
    activity, case, request = await contradicted(ccer, gec)
    for party in (ccer, gec, regulator):
        decision = verdict(case, SAME, activity=activity)
        await refused(party("DecideReviewCase", decision), Reason.ROLE_NOT_ALLOWED)
    await operator("DecideReviewCase", verdict(case, ASK, question="二期是否单独计量？"))
    assert await got(regulator, case) == await got(operator, case)
    # Its own registry sees the question and nothing of others; any other registry sees nothing at all.
    own = await got(gec, case)
    assert own.question == "二期是否单独计量？"
    assert own.evidence[0].identifiers == request.identifiers
    assert [(each.kind, each.question, each.reason, each.decider) for each in own.decisions] == [
        (ASK, "二期是否单独计量？", "", "")
    ]
    assert not own.candidates
    assert activity not in str(own)
    for party in (ccer, await wire.party(ARB)):
        hidden = await refused(got(party, case), Reason.REVIEW_CASE_UNKNOWN)
        none = await refused(got(party, "reviewCases/999999999"), Reason.REVIEW_CASE_UNKNOWN)
        assert hidden.code == none.code
        assert hidden.message_en.replace(case, "") == none.message_en.replace("reviewCases/999999999", "")
        narrowed = pb2.ListReviewCasesRequest(registry="gec")
        await refused(party("ListReviewCases", narrowed), Reason.REGISTRY_NOT_YOURS)
        listed = (await party("ListReviewCases", pb2.ListReviewCasesRequest(page_size=1000))).review_cases
        assert case not in {each.name for each in listed}
    listed = (await gec("ListReviewCases", pb2.ListReviewCasesRequest(page_size=1000))).review_cases
    assert case in {each.name for each in listed}
    assert all(not each.candidates for each in listed)


async def test_cases_are_listed_by_state_in_pages(own_wire: Wire) -> None:
    ccer, gec, operator = [await own_wire.party(each) for each in (CCER, GEC, OPERATOR)]
    cases = [(await contradicted(ccer, gec))[:2] for _ in range(3)]
    await operator("DecideReviewCase", verdict(cases[1][1], PART_OF, activity=cases[1][0]))

    async def pages(**query: Any) -> list[list[str]]:
        found: list[list[str]] = []
        token = ""
        while True:
            page = await operator("ListReviewCases", pb2.ListReviewCasesRequest(page_token=token, **query))
            found.append([each.name for each in page.review_cases])
            token = page.next_page_token
            if not token:
                return found

    names = [name for _, name in cases]
    assert await pages(page_size=2) == [names[:2], names[2:]]
    assert await pages(state=pb2.REVIEW_CASE_STATE_OPEN) == [[names[0], names[2]]]
    assert await pages(state=pb2.REVIEW_CASE_STATE_DECIDED, registry="gec") == [[names[1]]]
    assert await pages(registry="ccer") == [[]]


async def test_every_fault_of_a_decision_is_told_with_its_field(wire: Wire) -> None:
    operator = await wire.party(OPERATOR)

    async def faults(**changed: Any) -> list[str]:
        request = verdict("reviewCases/1", DIFFERENT)
        for field, value in changed.items():
            setattr(request, field, value)
        refusal = await refused(operator("DecideReviewCase", request), Reason.INVALID_REQUEST)
        return [field for field, _ in violations(refusal)]

    assert await faults(request_id="short", name="cases/1", reason="") == ["request_id", "name", "reason"]
    assert await faults(name="reviewCases/01") == ["name"]
    assert await faults(kind=0) == ["kind"]
    assert await faults(kind=SAME) == ["activity"]
    assert await faults(kind=pb2.REVIEW_DECISION_KIND_CONFIRM) == ["kind"]
    assert await faults(activity="activities/CN7K3M9Q2X4T8A52", question="?") == ["activity", "question"]
    assert await faults(kind=ASK) == ["question"]
    assert await faults(kind=ASK, question="x" * 1025, reason="a\x00b") == ["question", "reason"]


async def test_decisions_and_registrations_at_once_leave_one_activity(wire: Wire, ccer: Party, gec: Party) -> None:
    operator = await wire.party(OPERATOR)
    for _ in range(4):
        activity, case, request = await contradicted(ccer, gec)

        async def again(to_send: Any = request) -> str:
            to_send.request_id = fresh()
            refusal = None
            try:
                return str((await gec("RegisterActivity", to_send)).name)
            except Exception as error:  # noqa: BLE001  looked at below
                refusal = error
            return str(getattr(refusal, "reason", refusal))

        decision = verdict(case, SAME, activity=activity)
        decided, answer = await asyncio.gather(operator("DecideReviewCase", decision), again())
        assert answer in (activity, str(Reason.IDENTITY_UNDER_REVIEW))
        assert decided.activity == activity
        assert await again() == activity


async def test_a_merge_over_issuances_takes_two_operators_and_leaves_an_alias(
    wire: Wire, ccer: Party, gec: Party
) -> None:
    operator, second = await wire.party(OPERATOR), await wire.party(SECOND_OPERATOR)
    one, other = meter(), filing_code()
    survivor, merged = (await ccer.register(one)).name, (await gec.register(other)).name
    issued = await gec.issued(merged)
    identifiers = [Identifier(scheme=scheme, value=value) for scheme, value in (one, other)]
    request = project("gec", identifiers=identifiers)
    refusal = await refused(gec("RegisterActivity", request), Reason.IDENTITY_UNDER_REVIEW)
    case = f"reviewCases/{refusal.variables['case']}"

    proposed = await operator("DecideReviewCase", verdict(case, SAME, activity=survivor))
    assert (proposed.state, proposed.awaits_confirmation) == (pb2.REVIEW_CASE_STATE_OPEN, True)
    assert proposed.decisions[0].proposed
    fields: dict[str, Any] = {"name": case, "reason": "复核无误"}
    own = pb2.ConfirmReviewDecisionRequest(request_id=fresh(), **fields)
    told_own = await refused(operator("ConfirmReviewDecision", own), Reason.REVIEW_SECOND_PERSON_NEEDED)
    assert told_own.variables == {"case": case, "decider": "operator/ops"}
    confirmation = pb2.ConfirmReviewDecisionRequest(request_id=fresh(), **fields)
    decided = await second("ConfirmReviewDecision", confirmation)
    assert (decided.state, decided.activity) == (pb2.REVIEW_CASE_STATE_DECIDED, survivor)
    assert await second("ConfirmReviewDecision", confirmation) == decided

    found = await ccer("GetActivity", activity_pb2.GetActivityRequest(name=merged))
    assert found.name == survivor
    assert {each.registry for each in found.native_projects} == {"ccer", "gec"}
    assert (await gec.get(issued)).activity == survivor
    of_alias = lock_pb2.ListIssuanceLocksRequest(activity=merged)
    assert [each.name for each in (await gec("ListIssuanceLocks", of_alias)).issuance_locks] == [issued.name]
    told_merged = await refused(gec.acquire(merged, month(3)), Reason.ACTIVITY_MERGED)
    assert told_merged.variables == {"activity": merged, "survivor": survivor}
    await refused(gec.record(merged, 5, month(4)), Reason.ACTIVITY_MERGED)
    await refused(ccer.acquire(survivor), Reason.ACTIVITY_ALREADY_ISSUED)
    moved = [each.event for each in await gec.events() if each.event.issuance_lock == issued.name][-1]
    assert (moved.kind, moved.activity) == (event_pb2.EVENT_KIND_LOCK_MOVED, survivor)


def native(registration: Any) -> activity_pb2.NativeProjectRef:
    found: activity_pb2.NativeProjectRef = registration.native_project
    return found


def to_split(activity: str, /, *projects: activity_pb2.NativeProjectRef, **changed: Any) -> pb2.SplitActivityRequest:
    fields: dict[str, Any] = {
        "request_id": fresh(), "activity": activity, "native_projects": projects, "reason": "现场核实为两处",
    }  # fmt: skip
    return pb2.SplitActivityRequest(**fields | changed)


async def two_on_one(ccer: Party, gec: Party) -> tuple[str, Any]:
    """An activity of ccer that gec registered too, and gec's registration."""
    shared = meter()
    activity = (await ccer.register(shared)).name
    request = project("gec", shared)
    assert (await gec("RegisterActivity", request)).name == activity
    return activity, request


async def test_an_operator_splits_and_a_repeat_gets_the_first_answer(wire: Wire, ccer: Party, gec: Party) -> None:
    operator, regulator = await wire.party(OPERATOR), await wire.party(REGULATOR)
    activity, request = await two_on_one(ccer, gec)
    lock = await gec.acquire(activity)
    under_way = await refused(
        operator("SplitActivity", to_split(activity, native(request))), Reason.SPLIT_LOCK_UNDER_WAY
    )
    assert under_way.variables == {"lock": lock.name, "activity": activity}
    await gec.release(lock)
    wish = to_split(activity, native(request))
    answer = await operator("SplitActivity", wish)
    assert (answer.state, answer.activity) == (pb2.ACTIVITY_SPLIT_STATE_DONE, activity)
    assert (list(answer.native_projects), list(answer.issuance_locks)) == ([native(request)], [lock.name])
    assert (answer.proposer, answer.confirmer, answer.reason) == ("operator/ops", "", "现场核实为两处")
    assert await operator("SplitActivity", wish) == answer
    assert (await gec("GetActivity", activity_pb2.GetActivityRequest(name=answer.new_activity))).native_projects == [
        native(request)
    ]
    assert (await gec.get(lock)).activity == answer.new_activity
    assert (await gec.acquire(answer.new_activity)).state == lock_pb2.ISSUANCE_LOCK_STATE_HELD
    assert (await ccer.acquire(activity)).state == lock_pb2.ISSUANCE_LOCK_STATE_HELD
    of_it = pb2.ListActivitySplitsRequest(activity=activity)
    assert list((await regulator("ListActivitySplits", of_it)).activity_splits) == [answer]
    await refused(gec("ListActivitySplits", of_it), Reason.ROLE_NOT_ALLOWED)
    told_of = [(each.event.kind, each.event.activity) for each in await operator.events()]
    for side in (activity, answer.new_activity):
        assert (event_pb2.EVENT_KIND_ACTIVITY_SPLIT, side) in told_of


async def test_issued_units_are_split_by_two_operators(wire: Wire, ccer: Party, gec: Party) -> None:
    operator, second = await wire.party(OPERATOR), await wire.party(SECOND_OPERATOR)
    activity, request = await two_on_one(ccer, gec)
    issued = await gec.issued(activity)
    proposed = await operator("SplitActivity", to_split(activity, native(request)))
    assert (proposed.state, proposed.new_activity) == (pb2.ACTIVITY_SPLIT_STATE_PROPOSED, "")
    assert (await gec.get(issued)).activity == activity
    fields: dict[str, Any] = {"name": proposed.name, "reason": "复核无误"}
    own = pb2.ConfirmActivitySplitRequest(request_id=fresh(), **fields)
    told_own = await refused(operator("ConfirmActivitySplit", own), Reason.SPLIT_SECOND_PERSON_NEEDED)
    assert told_own.variables == {"split": proposed.name, "decider": "operator/ops"}
    confirmation = pb2.ConfirmActivitySplitRequest(request_id=fresh(), **fields)
    answer = await second("ConfirmActivitySplit", confirmation)
    assert (answer.state, answer.confirmer) == (pb2.ACTIVITY_SPLIT_STATE_DONE, "operator/second")
    assert await second("ConfirmActivitySplit", confirmation) == answer
    moved = await gec.get(issued)
    assert (moved.activity, [each.units for each in moved.issuances]) == (answer.new_activity, [issued.units])
    assert (await ccer.acquire(activity)).state == lock_pb2.ISSUANCE_LOCK_STATE_HELD


async def test_a_decision_is_taken_back_and_taken_otherwise(wire: Wire, ccer: Party, gec: Party) -> None:
    operator = await wire.party(OPERATOR)
    activity, case, request = await contradicted(ccer, gec)
    own = (await operator("DecideReviewCase", verdict(case, PART_OF, activity=activity))).activity
    fields: dict[str, Any] = {"name": case, "reason": "裁定有误"}
    reopening = pb2.ReopenReviewCaseRequest(request_id=fresh(), **fields)
    reopened = await operator("ReopenReviewCase", reopening)
    assert reopened.state == pb2.REVIEW_CASE_STATE_OPEN
    assert {each.activity.name for each in reopened.candidates} == {activity, own}
    assert await operator("ReopenReviewCase", reopening) == reopened
    assert not (await got(gec, case)).decisions[-1].reason, "a registry sees that, not why"
    await refused(gec.acquire(own), Reason.IDENTITY_UNDER_REVIEW)
    await operator("DecideReviewCase", verdict(case, SAME, activity=activity))
    stands = await refused(
        operator("ReopenReviewCase", pb2.ReopenReviewCaseRequest(request_id=fresh(), **fields)),
        Reason.REVIEW_SAME_STANDS,
    )
    assert stands.variables == {"case": case, "activity": activity}
    answer = await operator("SplitActivity", to_split(activity, restore=own))
    assert (answer.new_activity, answer.restore, list(answer.native_projects)) == (own, own, [native(request)])
    assert (await gec("GetActivity", activity_pb2.GetActivityRequest(name=own))).name == own


async def test_what_is_wrong_with_a_split_comes_back_at_once(wire: Wire, ccer: Party, gec: Party) -> None:
    operator = await wire.party(OPERATOR)
    activity, request = await two_on_one(ccer, gec)

    async def faults(*projects: Any, **changed: Any) -> list[str]:
        refusal = await refused(
            operator("SplitActivity", to_split(activity, *projects, **changed)), Reason.INVALID_REQUEST
        )
        return [field for field, _ in violations(refusal)]

    assert await faults() == ["native_projects"]
    assert await faults(*[native(request)] * 101) == ["native_projects"]
    assert await faults(native(request), activity="x", restore="y", reason="") == ["activity", "restore", "reason"]
    odd = activity_pb2.NativeProjectRef(registry="a b", native_project_id="")
    assert await faults(odd, issuance_locks=["issuanceLocks/0"], identifiers=[Identifier(scheme="no", value="1")]) == [
        "native_projects[0].registry", "native_projects[0].native_project_id", "identifiers[0]", "issuance_locks[0]",
    ]  # fmt: skip
    by_hand = verdict("reviewCases/1", pb2.REVIEW_DECISION_KIND_REOPEN)
    refusal = await refused(operator("DecideReviewCase", by_hand), Reason.INVALID_REQUEST)
    assert [field for field, _ in violations(refusal)] == ["kind"]


async def run(wire: Wire, *arguments: str, by: Caller = OPERATOR) -> tuple[int, str]:
    """`soleclaim review …` as an operator; exit code and what it printed."""
    return await run_command(wire, "review", *arguments, by=by)


async def test_an_operator_works_the_queue_from_the_command_line(own_wire: Wire) -> None:
    ccer, gec = await own_wire.party(CCER), await own_wire.party(GEC)
    activity, case, request = await contradicted(ccer, gec)
    number = case.partition("/")[2]
    code, printed = await run(own_wire, "list", "--state", "OPEN", "--json")
    assert code == 0
    assert [each["name"] for each in json.loads(printed)["review_cases"]] == [case]
    code, printed = await run(own_wire, "show", number)
    assert code == 0
    for expected in (activity, "甲子一期", request.native_project.native_project_id, "two values of scheme"):
        assert expected in printed
    assert (await run(own_wire, "decide", number, "--same", activity, "--different", "--reason", "x"))[0] == 2
    code, printed = await run(own_wire, "decide", number, "--same", "CN7K3M9Q2X4T8A22", "--reason", "x")
    assert code == 2
    assert "check digits" in printed
    code, printed = await run(own_wire, "show", number, "--json")
    seen = json.loads(printed)["update_time"]
    assert seen in (await run(own_wire, "show", number))[1]
    code, printed = await run(own_wire, "decide", number, "--different", "--seen", "yesterday", "--reason", "x")
    assert code == 2
    code, printed = await run(
        own_wire, "decide", number, "--different", "--seen", "2026-01-01T00:00:00Z", "--reason", "x"
    )
    assert code == 1
    assert "REVIEW_CASE_NEWER" in printed
    code, printed = await run(
        own_wire, "decide", number, "--same", activity, "--seen", seen, "--reason", "现场核实", "--json"
    )
    assert code == 0
    assert json.loads(printed)["activity"] == activity
    code, printed = await run(own_wire, "decide", number, "--different", "--reason", "again")
    assert code == 1
    assert "REVIEW_CASE_DECIDED" in printed
    code, printed = await run(own_wire, "confirm", number, "--reason", "x", by=SECOND_OPERATOR)
    assert code == 1
    assert "REVIEW_CASE_DECIDED" in printed
    code, printed = await run(own_wire, "list", "--lang", "zh")
    assert code == 0
    assert "审查案" in printed
    assert "DECIDED" in printed


async def test_an_operator_takes_decisions_back_from_the_command_line(own_wire: Wire) -> None:
    ccer, gec = await own_wire.party(CCER), await own_wire.party(GEC)
    activity, request = await two_on_one(ccer, gec)
    await gec.issued(activity)
    told_project = f"gec:{native(request).native_project_id}"
    assert (await run(own_wire, "split", activity, "--reason", "x"))[0] == 2
    assert (await run(own_wire, "split", activity, "--project", "gec", "--reason", "x"))[0] == 2
    code, printed = await run(own_wire, "split", activity, "--project", "ccer:no-such", "--reason", "x")
    assert code == 1
    assert "SPLIT_NOT_THERE" in printed
    code, printed = await run(own_wire, "split", activity, "--project", told_project, "--reason", "两处", "--json")
    assert code == 0, printed
    proposed = json.loads(printed)
    assert proposed["state"] == "ACTIVITY_SPLIT_STATE_PROPOSED"
    number = proposed["name"].partition("/")[2]
    code, printed = await run(own_wire, "confirm-split", number, "--reason", "x", by=SECOND_OPERATOR)
    assert code == 0, printed
    for expected in (told_project, "DONE", "operator/second", "两处"):
        assert expected in printed
    code, printed = await run(own_wire, "splits", "--activity", activity, "--lang", "zh")
    assert code == 0
    for expected in ("拆分", told_project, activity):
        assert expected in printed

    _, case, _ = await contradicted(ccer, gec)
    number = case.partition("/")[2]
    assert (await run(own_wire, "decide", number, "--different", "--reason", "x"))[0] == 0
    code, printed = await run(own_wire, "reopen", number, "--reason", "看错了")
    assert code == 0
    for expected in ("OPEN", "REOPEN", "看错了"):
        assert expected in printed
