"""Coverage over the wire: facts in, credits inside a boundary refused, corrections as new facts, who sees what."""

import asyncio
import json
import sys
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from google.type.interval_pb2 import Interval

from soleclaim.api.common.v1.types_pb2 import Declaration, Identifier
from soleclaim.api.lookup.v1 import coverage_service_pb2 as pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb2
from soleclaim.api.lookup.v1 import review_service_pb2 as review_pb2
from soleclaim.client import RemoteRefusal
from soleclaim.core.errors import Reason
from soleclaim.core.identity import Caller
from soleclaim.rpc.parse import to_timestamp
from tests.wire.conftest import (
    BEA,
    CCER,
    CEA,
    CQCER,
    DAY_0,
    EUR_ZJ,
    GEC,
    OPERATOR,
    REGULATOR,
    Party,
    Wire,
    fresh,
    items_of,
    meter,
    month,
    project,
    reason_of,
    refused,
    told,
    violations,
    wish,
)
from tests.wire.test_activities import filing_code

COVERED, MARKET = "source-inside-covered-boundary", "source-inside-energy-use-market"


def since(day: float, until: float | None = None) -> Interval:
    """From a day of 2025 on, without an end where none is given."""
    interval = Interval(start_time=to_timestamp(DAY_0 + timedelta(days=day)))
    if until is not None:
        interval.end_time.CopyFrom(to_timestamp(DAY_0 + timedelta(days=until)))
    return interval


def unit(registry: str, *identifiers: tuple[str, str], **changed: Any) -> Any:
    """A covered unit; its request_id stays empty."""
    [message] = items_of(project(registry, *identifiers, **{"activity_type": "heat", **changed}))
    return message


def statement(what: Any, **changed: Any) -> Any:
    """A RecordCoverageRequest on a unit that is right but for what is changed."""
    fields: dict[str, Any] = {
        "request_id": fresh(),
        "statement_id": fresh("statement"),
        "unit": what,
        "boundary": "全部燃煤锅炉",
        "sector": "发电",
        "period": since(0),
    }
    return pb2.RecordCoverageRequest(**fields | changed)


async def stated(party: Party, what: Any, **changed: Any) -> pb2.Coverage:
    found: pb2.Coverage = await party("RecordCoverage", statement(what, **changed))
    return found


async def listed(party: Party, **conditions: Any) -> list[pb2.Coverage]:
    return list((await party("ListCoverage", pb2.ListCoverageRequest(**conditions))).coverages)


async def inside(
    wire: Wire, *registries: Caller, covering: Caller = CEA, **changed: Any
) -> tuple[str, pb2.Coverage, Any]:
    """An activity that these registries know and that is covered, the statement, and its unit."""
    identifier = meter()
    for caller in registries or (CCER, GEC):
        await (await wire.party(caller)).register(identifier)
    what = unit(covering.code, identifier)
    coverage = await stated(await wire.party(covering), what, **changed)
    return coverage.activity, coverage, what


async def refused_inside(party: Party, activity: str, rules: str, at: int = 0, **changed: Any) -> RemoteRefusal:
    """Insist that a grant, and the dry run of it, are refused by exactly these rules."""
    refusal = await refused(party.acquire(activity, month(at), **changed), Reason.POLICY_REFUSED)
    assert refusal.variables["rules"] == rules
    check = lock_pb2.CheckIssuanceLockRequest(request=wish(party.code, activity, month(at), **changed))
    [dry] = (await party("CheckIssuanceLock", check)).refusals
    assert told(dry).variables == refusal.variables
    return refusal


async def test_a_credit_inside_a_cap_is_refused_by_name_and_a_certificate_is_not(wire: Wire) -> None:
    """R88, C5, C13."""
    activity, coverage, _ = await inside(wire)
    assert coverage.activity == activity
    assert coverage.in_force
    assert coverage.scheme == pb2.COVERAGE_SCHEME_EMISSION_TRADING
    refusal = await refused_inside(await wire.party(CCER), activity, COVERED)
    assert refusal.code == "FAILED_PRECONDITION"
    assert refusal.variables == {
        "rules": COVERED, "bundle": "2026-11", "registry": "cea", "period": "2025-01-01T00:00:00Z/..",
        "boundary": "全部燃煤锅炉",
    }  # fmt: skip
    await (await wire.party(GEC)).acquire(activity)


async def test_every_rule_that_is_not_met_is_named_at_once(wire: Wire) -> None:
    activity, _, what = await inside(wire, CCER)
    await stated(await wire.party(EUR_ZJ), unit("eur-zj", (what.identifiers[0].scheme, what.identifiers[0].value)))
    half = Declaration(no_other_application=True)
    rules = f"declaration-no-claim-after-transfer, {COVERED}, {MARKET}"
    refusal = await refused_inside(await wire.party(CCER), activity, rules, declaration=half)
    assert refusal.variables["registry"] == "cea; eur-zj"


async def test_a_scheme_whose_own_rule_lacks_the_exclusion_is_refused_all_the_same(wire: Wire) -> None:
    activity, _, _ = await inside(wire, CQCER, covering=BEA)
    refusal = await refused_inside(await wire.party(CQCER), activity, COVERED)
    assert refusal.variables["policy_override"] == "CQCER"


async def test_a_covering_registry_issues_on_its_own_unit_and_others_do_not(wire: Wire) -> None:
    """C15, C16: of two that cover one unit the locks decide; who does not cover it is refused."""
    activity, _, what = await inside(wire, CCER)
    identifier = (what.identifiers[0].scheme, what.identifiers[0].value)
    cea, bea, market = [await wire.party(each) for each in (CEA, BEA, EUR_ZJ)]
    await bea.register(identifier)
    await refused_inside(bea, activity, COVERED)
    await stated(market, unit("eur-zj", identifier))
    await cea.issued(activity)
    await refused(market.acquire(activity), Reason.ACTIVITY_ALREADY_ISSUED)
    await market.acquire(activity, month(1))
    await refused(cea.acquire(activity, month(1)), Reason.ISSUANCE_LOCK_HELD)


async def test_only_periods_that_share_an_instant_with_the_coverage_are_refused(wire: Wire) -> None:
    activity, _, _ = await inside(wire, CCER, period=since(30, 60))
    ccer = await wire.party(CCER)
    await ccer.acquire(activity, month(0))
    await refused_inside(ccer, activity, COVERED, 1)
    await ccer.acquire(activity, month(2))


async def test_a_correction_takes_the_place_of_what_it_corrects(wire: Wire) -> None:
    activity, first, what = await inside(wire, CCER)
    ccer, cea = await wire.party(CCER), await wire.party(CEA)
    second = await stated(cea, what, corrects=first.statement_id, period=since(0, 30))
    await refused_inside(ccer, activity, COVERED, 0)
    await ccer.acquire(activity, month(1))
    # A second correction of the same statement: the newest counts.
    third = await stated(cea, what, corrects=first.statement_id, period=since(60, 90))
    await ccer.acquire(activity, month(0))
    await refused_inside(ccer, activity, COVERED, 2)
    withdrawal = await stated(cea, what, corrects=third.statement_id, withdrawn=True)
    await ccer.acquire(activity, month(2))
    assert not await listed(cea, activity=activity)
    history = await listed(cea, activity=activity, show_history=True)
    assert [each.name for each in history] == [each.name for each in (first, second, third, withdrawal)]
    assert [each.in_force for each in history] == [False] * 4
    assert [each.withdrawn for each in history] == [False, False, False, True]


async def test_a_correction_of_what_is_not_known_is_kept_and_told_and_counts_whatever_comes_first(wire: Wire) -> None:
    identifier, missing = meter(), fresh("statement")
    ccer, cea = await wire.party(CCER), await wire.party(CEA)
    activity = (await ccer.register(identifier)).name
    what = unit("cea", identifier)
    early = await stated(cea, what, corrects=missing, period=since(0, 30))
    assert early.corrects_unknown
    assert early.in_force
    late = await stated(cea, what, statement_id=missing)
    assert not late.in_force
    found = await cea("GetCoverage", pb2.GetCoverageRequest(name=early.name))
    assert (found.in_force, found.corrects_unknown) == (True, False)
    await refused_inside(ccer, activity, COVERED, 0)
    await ccer.acquire(activity, month(1))


async def test_the_same_statement_again_changes_nothing_and_another_content_is_refused(wire: Wire) -> None:
    _, coverage, what = await inside(wire, CCER)
    cea = await wire.party(CEA)
    cursor = await cea.now()
    assert await stated(cea, what, statement_id=coverage.statement_id) == coverage
    assert not await cea.events(cursor)
    changed = statement(what, statement_id=coverage.statement_id, boundary="仅 1 号锅炉")
    refusal = await refused(cea("RecordCoverage", changed), Reason.COVERAGE_STATEMENT_DIFFERS)
    assert "correct it by a new statement" in refusal.message_en
    assert "请以新的声明更正" in refusal.message_zh
    # Another registry's statement of that id is another statement.
    other = unit("bea", (what.identifiers[0].scheme, what.identifiers[0].value))
    assert (await stated(await wire.party(BEA), other, statement_id=coverage.statement_id)).name != coverage.name


async def test_a_unit_under_review_is_covered_as_soon_as_its_case_is_decided(wire: Wire) -> None:
    shared, (scheme, value) = meter(), filing_code()
    ccer, cea, operator = [await wire.party(each) for each in (CCER, CEA, OPERATOR)]
    activity = (await ccer.register(shared, filing_code())).name
    what = unit("cea", shared, identifiers=[*unit("cea", shared).identifiers, Identifier(scheme=scheme, value=value)])
    coverage = await stated(cea, what)
    assert coverage.activity == ""
    assert coverage.review_case
    await refused(ccer.acquire(activity), Reason.IDENTITY_UNDER_REVIEW)
    decision = review_pb2.DecideReviewCaseRequest(
        request_id=fresh(), name=coverage.review_case, kind=review_pb2.REVIEW_DECISION_KIND_SAME, activity=activity,
        reason="现场核实",
    )  # fmt: skip
    await operator("DecideReviewCase", decision)
    await refused_inside(ccer, activity, COVERED)
    found = await cea("GetCoverage", pb2.GetCoverageRequest(name=coverage.name))
    assert (found.activity, found.review_case) == (activity, "")


async def test_what_is_part_of_a_covered_unit_is_inside_it_over_all_levels(wire: Wire) -> None:
    """The link follows the statement that named it: corrected away, it is gone."""
    ccer, cea = await wire.party(CCER), await wire.party(CEA)
    marks = [meter() for _ in range(3)]
    activities = [(await ccer.register(each)).name for each in marks]
    plant, boiler, pump = [unit("cea", each) for each in marks]
    past = since(-3000, -2900)
    await stated(cea, pump, inside=boiler.native_project.native_project_id, period=past)
    link = await stated(cea, boiler, inside=plant.native_project.native_project_id, period=past)
    for each in activities:
        await ccer.acquire(each, month(0))
    whole = await stated(cea, plant)
    for each in activities:
        await refused_inside(ccer, each, COVERED, 1)
    found = await listed(ccer, activity=activities[2], at=to_timestamp(DAY_0 + timedelta(days=1)))
    assert [each.name for each in found] == [whole.name]
    await stated(cea, boiler, corrects=link.statement_id, period=past)
    await ccer.acquire(activities[2], month(1))
    await ccer.acquire(activities[1], month(1))
    await refused_inside(ccer, activities[0], COVERED, 1)


async def test_a_unit_any_number_of_levels_down_is_inside(wire: Wire) -> None:
    ccer, cea = await wire.party(CCER), await wire.party(CEA)
    lowest = meter()
    activity = (await ccer.register(lowest)).name
    chain = [unit("cea", each) for each in (lowest, *(meter() for _ in range(20)))]
    past = since(-3000, -2900)
    for part, whole in pairwise(chain):
        await stated(cea, part, inside=whole.native_project.native_project_id, period=past)
    await ccer.acquire(activity, month(0))
    await stated(cea, chain[-1])
    await refused_inside(ccer, activity, COVERED, 1)


async def test_units_inside_each_other_do_not_hang_a_grant(wire: Wire) -> None:
    ccer, cea = await wire.party(CCER), await wire.party(CEA)
    marks = [meter(), meter()]
    activities = [(await ccer.register(each)).name for each in marks]
    one, other = [unit("cea", each) for each in marks]
    await stated(cea, one, inside=other.native_project.native_project_id)
    await stated(cea, other, inside=one.native_project.native_project_id, period=since(900))
    await refused_inside(ccer, activities[1], COVERED)


async def test_a_plant_that_a_person_put_under_a_covered_one_is_inside_it(wire: Wire) -> None:
    shared, (scheme, value) = meter(), filing_code()
    cea, gec, ccer, operator = [await wire.party(each) for each in (CEA, GEC, CCER, OPERATOR)]
    whole = (await ccer.register(shared, filing_code())).name
    request = project("ccer", identifiers=[Identifier(scheme=shared[0], value=shared[1]),
                                           Identifier(scheme=scheme, value=value)])  # fmt: skip
    refusal = await refused(ccer("RegisterActivity", request), Reason.IDENTITY_UNDER_REVIEW)
    decision = review_pb2.DecideReviewCaseRequest(
        request_id=fresh(), name=f"reviewCases/{refusal.variables['case']}", activity=whole, reason="二期",
        kind=review_pb2.REVIEW_DECISION_KIND_PART_OF,
    )  # fmt: skip
    part = (await operator("DecideReviewCase", decision)).activity
    assert part != whole
    await ccer.acquire(part, month(0))
    await stated(cea, unit("cea", shared))
    await refused_inside(ccer, part, COVERED, 1)
    assert not await listed(gec, activity=part), "gec knows neither"


async def test_a_batch_answers_per_item_and_repeats_its_first_answer(wire: Wire) -> None:
    cea = await wire.party(CEA)
    what = unit("cea", meter())
    known = await stated(cea, what)
    same = statement(what, statement_id=known.statement_id)
    other = statement(what, statement_id=known.statement_id, sector="化工")
    twice = statement(what)
    faulty = statement(unit("cea"), boundary="")
    foreign = statement(unit("bea", meter()))
    batch = pb2.BatchRecordCoverageRequest(
        request_id=fresh(), requests=items_of(same, other, twice, twice, faulty, foreign)
    )
    first = await cea("BatchRecordCoverage", batch)
    assert [reason_of(each) for each in first.results] == [
        None, Reason.COVERAGE_STATEMENT_DIFFERS, None, None, Reason.INVALID_REQUEST, Reason.REGISTRY_NOT_YOURS,
    ]  # fmt: skip
    assert first.results[0].coverage == known
    assert first.results[2] == first.results[3]
    await stated(cea, what, corrects=twice.statement_id)
    assert await cea("BatchRecordCoverage", batch) == first, "the first answer, not today's"
    batch.requests.pop()
    await refused(cea("BatchRecordCoverage", batch), Reason.REQUEST_ID_REUSED)
    answers = await asyncio.gather(*(cea("RecordCoverage", request) for request in [statement(what)] * 5))
    assert len({each.name for each in answers}) == 1


async def test_faults_of_a_statement_are_named_all_at_once(wire: Wire) -> None:
    cea, ccer = await wire.party(CEA), await wire.party(CCER)
    what = unit("cea", meter())
    own = what.native_project.native_project_id
    message = statement(what, statement_id="A", corrects="A", inside=own, boundary="", sector="x" * 129)
    message.period.CopyFrom(since(5, 5))
    message.unit.request_id = fresh()
    refusal = await refused(cea("RecordCoverage", message), Reason.INVALID_REQUEST)
    fields = {field for field, _ in violations(refusal)}
    assert fields == {"unit.request_id", "corrects", "inside", "boundary", "sector", "period"}
    refusal = await refused(ccer("RecordCoverage", statement(unit("ccer", meter()))), Reason.INVALID_REQUEST)
    [(field, text)] = violations(refusal)
    assert field == "unit.native_project.registry"
    assert "runs no cap or market" in text
    assert "cea" in text


async def test_who_sees_what_of_a_statement(wire: Wire) -> None:
    activity, coverage, _ = await inside(wire, CCER, inside="plant-1")
    cea, ccer, gec = [await wire.party(each) for each in (CEA, CCER, GEC)]
    for caller in (CEA, OPERATOR, REGULATOR):
        party = await wire.party(caller)
        assert await party("GetCoverage", pb2.GetCoverageRequest(name=coverage.name)) == coverage
        assert await listed(party, activity=activity) == [coverage]
    bounds = pb2.Coverage(
        name=coverage.name, registry="cea", scheme=coverage.scheme, period=coverage.period, boundary=coverage.boundary,
        in_force=True,
    )  # fmt: skip
    assert await ccer("GetCoverage", pb2.GetCoverageRequest(name=coverage.name)) == bounds
    assert await listed(ccer, activity=activity) == [bounds]
    assert bounds in await listed(ccer, registry="cea", page_size=1000)
    answers = []
    for name in (coverage.name, f"coverages/{2**62}"):
        refusal = await refused(gec("GetCoverage", pb2.GetCoverageRequest(name=name)), Reason.COVERAGE_UNKNOWN)
        answers.append(refusal.message_en.replace(name, "…"))
    assert answers[0] == answers[1]
    assert not await listed(gec, activity=activity)
    regulator = await wire.party(REGULATOR)
    await refused(regulator("RecordCoverage", statement(unit("cea", meter()))), Reason.ROLE_NOT_ALLOWED)
    # Its event is the covering registry's own.
    assert [each.event.issuance_lock for each in await cea.events() if each.event.kind == 30][-1:] == [""]
    assert not [each for each in await ccer.events() if each.event.kind == 30]


async def test_lists_are_paged_and_narrowed_by_instant(wire: Wire) -> None:
    cea = await wire.party(CEA)
    what = unit("cea", meter())
    made = [await stated(cea, what, period=since(10 * i, 10 * i + 10)) for i in range(3)]
    request = pb2.ListCoverageRequest(activity=made[0].activity, page_size=2)
    page = await cea("ListCoverage", request)
    assert list(page.coverages) == made[:2]
    request.page_token = page.next_page_token
    page = await cea("ListCoverage", request)
    assert list(page.coverages) == made[2:]
    assert not page.next_page_token
    at = to_timestamp(DAY_0 + timedelta(days=10))
    assert await listed(cea, activity=made[0].activity, at=at) == [made[1]]


async def test_coverage_after_an_issuance_is_recorded_and_the_issuance_stands(wire: Wire) -> None:
    identifier = meter()
    ccer, cea = await wire.party(CCER), await wire.party(CEA)
    activity = (await ccer.register(identifier)).name
    lock = await ccer.issued(activity)
    held = await ccer.acquire(activity, month(1))
    assert (await stated(cea, unit("cea", identifier))).in_force
    assert (await ccer.get(lock)).state == lock_pb2.ISSUANCE_LOCK_STATE_ISSUED
    await ccer.commit(await ccer.begin(held))
    # Nothing more: also not under the lock that there is.
    await refused_inside(ccer, activity, COVERED, 0)


@pytest.mark.parametrize("turn", range(3))
async def test_a_race_of_coverage_and_grants_has_no_grant_after_the_coverage(wire: Wire, turn: int) -> None:
    """Afterwards every grant was made before the statement was recorded, by the order of the history."""
    marks = [meter() for _ in range(12)]
    ccer, cea = await wire.party(CCER), await wire.party(CEA)
    activities = [(await ccer.register(each)).name for each in marks]
    others = [await wire.new_party(CCER) for _ in range(3)]

    async def grant(i: int, activity: str) -> Any:
        await asyncio.sleep(0.004 * (i % 6))
        try:
            return await others[i % 3].acquire(activity)
        except RemoteRefusal as refusal:
            return refusal

    async def cover(i: int) -> pb2.Coverage:
        await asyncio.sleep(0.004 * ((i + turn) % 5))
        return await stated(cea, unit("cea", marks[i]))

    results = await asyncio.gather(
        asyncio.gather(*(grant(i, each) for i, each in enumerate(activities))),
        asyncio.gather(*(cover(i) for i in range(len(marks)))),
    )
    entries = {"grant": {}, "cover": {}}  # type: dict[str, dict[str, int]]
    for event in [each.event for each in await (await wire.party(OPERATOR)).events()]:
        if event.activity in activities and event.kind in (5, 30):
            entries["grant" if event.kind == 5 else "cover"][event.activity] = event.entry
    for activity, answer in zip(activities, results[0], strict=True):
        if isinstance(answer, RemoteRefusal):
            assert answer.reason is Reason.POLICY_REFUSED
            assert activity not in entries["grant"]
        else:
            assert entries["grant"][activity] < entries["cover"][activity]
    for activity in activities:
        await refused_inside(ccer, activity, COVERED, 2)


async def command(wire: Wire, *arguments: str) -> str:
    """What `soleclaim coverage` prints to an operator."""
    files = wire.files(OPERATOR)
    tls = ["--authority", files.authority, "--certificate", files.certificate, "--key", files.key]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "soleclaim.cmd.main", "coverage", *arguments, "--lookup", f"localhost:{wire.port}",
        *map(str, tls), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


async def test_people_list_and_show_statements_in_both_languages(wire: Wire) -> None:
    activity, coverage, what = await inside(wire, CCER)
    new = await stated(await wire.party(CEA), what, corrects=coverage.statement_id, period=since(0, 365))
    identity = activity.removeprefix("activities/")
    found = json.loads(await command(wire, "list", "--activity", identity, "--at", "2025-05-01", "--json"))
    assert [each["name"] for each in found["coverages"]] == [new.name]
    assert not json.loads(await command(wire, "list", "--activity", identity, "--at", "2026-05-01", "--json"))[
        "coverages"
    ]
    table = await command(wire, "list", "--activity", identity, "--history", "--lang", "zh")
    assert "已更正" in table
    assert "有效" in table
    shown = json.loads(await command(wire, "show", new.name.removeprefix("coverages/"), "--json"))
    assert (shown["corrects"], shown["boundary"]) == (coverage.statement_id, "全部燃煤锅炉")
    assert "in_force" in await command(wire, "show", new.name)
