"""Review cases over the wire: held, read by those who may, decided by operators, and everybody goes on."""

import asyncio
import json
import sys
from typing import Any

from soleclaim.api.common.v1.types_pb2 import Identifier
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import event_service_pb2 as event_pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb2
from soleclaim.api.lookup.v1 import review_service_pb2 as pb2
from soleclaim.core.errors import Reason
from soleclaim.core.identity import Caller
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


async def run(wire: Wire, *arguments: str, by: Caller = OPERATOR) -> tuple[int, str]:
    """`soleclaim review …` as an operator; exit code and what it printed."""
    files = wire.files(by)
    tls = ["--authority", files.authority, "--certificate", files.certificate, "--key", files.key]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "soleclaim.cmd.main", "review", *arguments, "--lookup", f"localhost:{wire.port}",
        *map(str, tls), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert b"Traceback" not in err
    assert process.returncode is not None
    return process.returncode, (out + err).decode()


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
    code, printed = await run(own_wire, "decide", number, "--same", activity, "--reason", "现场核实", "--json")
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
