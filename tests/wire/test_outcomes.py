"""An activity's id resolves to project, generation and reduction; an outcome has an id of its own (R95)."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.type.interval_pb2 import Interval

from soleclaim.api.common.v1.types_pb2 import BASE_UNIT_KGCE, BASE_UNIT_KGCO2E, BASE_UNIT_KWH
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import outcome_service_pb2 as pb2
from soleclaim.core.activity_id import make_activity_id, new_activity_key, print_in_fours
from soleclaim.core.errors import Reason
from soleclaim.core.outcome_id import parse_outcome_id
from soleclaim.core.period import Period
from soleclaim.rpc.parse import to_interval
from tests.wire.conftest import (
    ARB,
    CCER,
    DAY_0,
    GEC,
    OPERATOR,
    REGULATOR,
    Party,
    Wire,
    month,
    refused,
    run_command,
    span,
    violations,
)
from tests.wire.test_activities import filing_code
from tests.wire.test_reviews import PART_OF, SAME, contradicted, verdict

FULL = activity_pb2.ACTIVITY_VIEW_FULL


async def shown(party: Party, name: str) -> activity_pb2.Activity:
    found: activity_pb2.Activity = await party("GetActivity", activity_pb2.GetActivityRequest(name=name, view=FULL))
    return found


async def listed(party: Party, activity: str, **more: Any) -> list[list[str]]:
    """The names of the outcomes, page by page."""
    request = pb2.ListOutcomesRequest(activity=activity, **more)
    pages: list[list[str]] = []
    while True:
        page = await party("ListOutcomes", request)
        pages.append([each.name for each in page.outcomes])
        request.page_token = page.next_page_token
        if not request.page_token:
            return pages


async def test_an_outcome_has_a_name_and_is_found_by_it(wire: Wire, gec: Party) -> None:
    activity = await wire.activity()
    odd = to_interval(Period(DAY_0.replace(microsecond=1), DAY_0.replace(day=2, microsecond=999_999)))
    for period, tail in (
        (month(), "kWh.20250101T000000Z-20250131T000000Z"),
        (odd, "kWh.20250101T000000.000001Z-20250102T000000.999999Z"),
    ):
        recorded = await gec.record(activity, 1_234_567, period)
        assert recorded.name == f"{activity}/outcomes/{tail}"
        for party in (gec, await wire.party(ARB), await wire.party(REGULATOR)):
            assert await party("GetOutcome", pb2.GetOutcomeRequest(name=recorded.name)) == recorded
        by_parts = pb2.GetOutcomeRequest(activity=activity, period=period, base_unit=BASE_UNIT_KWH)
        assert await gec("GetOutcome", by_parts) == recorded
    other = f"{activity}/outcomes/kgce.20250101T000000Z-20250131T000000Z"
    refusal = await refused(gec("GetOutcome", pb2.GetOutcomeRequest(name=other)), Reason.OUTCOME_UNKNOWN)
    assert (refusal.variables["activity"], refusal.variables["base_unit"]) == (activity, "kgce")


async def test_a_faulty_outcome_name_names_field_and_remedy(wire: Wire, gec: Party) -> None:
    activity = await wire.activity()
    right = (await gec.record(activity, 5)).name
    both = pb2.GetOutcomeRequest(name=right, activity=activity)
    for request, text in (
        (both, "names the outcome by itself"),
        (pb2.GetOutcomeRequest(name=right.replace("kWh", "MWh")), "an outcome is a base unit"),
        (pb2.GetOutcomeRequest(name=right.lower().replace("kwh", "kWh")), "an outcome is a base unit"),
        (pb2.GetOutcomeRequest(name=right.removeprefix("activities/")), "must be activities/"),
        (pb2.GetOutcomeRequest(name=activity), "an outcome id is activities/"),
    ):
        [(field, told)] = violations(await refused(gec("GetOutcome", request), Reason.INVALID_REQUEST))
        assert field == "name"
        assert text in told


async def test_outcomes_are_listed_in_order_in_pages(wire: Wire, gec: Party) -> None:
    activity = await wire.activity()
    names = [(await gec.record(activity, 10 * i, month(i))).name for i in (2, 0, 1)]
    names.sort()
    overlapping = (await gec.record(activity, 70, span(0, 90))).name
    coal = (await gec.record(activity, 7, month(1), base_unit=BASE_UNIT_KGCE)).name
    (everything,) = await listed(gec, activity)
    assert sorted(everything) == sorted([*names, overlapping, coal])
    assert [each for each in everything if each in names] == names
    for size in (1, 2, 5):
        pages = await listed(gec, activity, page_size=size)
        assert [each for page in pages for each in page] == everything
        assert max(map(len, pages)) == size
    assert sorted((await listed(gec, activity, period=span(35, 40)))[0]) == sorted([names[1], overlapping, coal])
    assert await listed(gec, await wire.activity()) == [[]]


async def test_a_faulty_list_of_outcomes_names_field_and_remedy(wire: Wire, gec: Party) -> None:
    activity = await wire.activity()
    for i in range(3):
        await gec.record(activity, 5, month(i))
    token = (await gec("ListOutcomes", pb2.ListOutcomesRequest(activity=activity, page_size=2))).next_page_token
    for request, fields in (
        (pb2.ListOutcomesRequest(page_size=-1), ["page_size", "activity"]),
        (pb2.ListOutcomesRequest(activity=activity, period=Interval()), ["period.start_time", "period.end_time"]),
        (pb2.ListOutcomesRequest(activity=await wire.activity(), page_token=token), ["page_token"]),
        (pb2.ListOutcomesRequest(activity=activity, page_token=f"{token}x"), ["page_token"]),
    ):
        refusal = await refused(gec("ListOutcomes", request), Reason.INVALID_REQUEST)
        assert [field for field, _ in violations(refusal)] == fields
    unknown = f"activities/{make_activity_id('CN', new_activity_key())}"
    await refused(gec("ListOutcomes", pb2.ListOutcomesRequest(activity=unknown)), Reason.ACTIVITY_UNKNOWN)
    await refused(shown(gec, unknown), Reason.ACTIVITY_UNKNOWN)


async def test_an_activity_resolves_to_project_generation_and_reduction(wire: Wire, gec: Party) -> None:
    activity = await wire.activity()
    for i, quantity in enumerate((1_500_000, 2_000_500)):
        await gec.record(activity, quantity, month(i))
    await gec.record(activity, 900_001, base_unit=BASE_UNIT_KGCO2E)
    for i, units in enumerate((1_000, 500)):
        await gec.issued(activity, month(i), units=units)
    await gec.acquire(activity, month(2), units=7)  # only held: nothing is issued by it
    found = await shown(gec, activity)
    assert {each.registry for each in found.native_projects} == {"ccer", "gec"}
    measured = {each.base_unit: each for each in found.measured_totals}
    assert set(measured) == {BASE_UNIT_KWH, BASE_UNIT_KGCO2E}
    assert measured[BASE_UNIT_KWH] == activity_pb2.MeasuredTotal(
        base_unit=BASE_UNIT_KWH, quantity=3_500_500, span=span(0, 60), outcome_count=2
    )
    assert measured[BASE_UNIT_KGCO2E].quantity == 900_001
    (issued,) = found.issued_totals
    assert issued == activity_pb2.IssuedTotal(registry="gec", instrument="GEC", units=1_500, span=span(0, 60))
    assert not found.wholes
    assert not found.parts
    assert not found.aliases
    by_project = activity_pb2.ResolveActivityRequest(native_project=found.native_projects[0], view=FULL)
    assert await gec("ResolveActivity", by_project) == found
    basic = await gec("GetActivity", activity_pb2.GetActivityRequest(name=activity))
    assert not basic.measured_totals
    assert not basic.issued_totals
    request = activity_pb2.GetActivityRequest(name=activity)
    request.view = 77  # type: ignore[assignment]  # what a newer client may send
    assert violations(await refused(gec("GetActivity", request), Reason.INVALID_REQUEST))[0][0] == "view"


async def test_issued_units_are_told_to_whom_the_activity_concerns(wire: Wire, ccer: Party, gec: Party) -> None:
    activity = await wire.activity()
    await gec.issued(activity, units=12)
    for party in (ccer, gec, await wire.party(OPERATOR), await wire.party(REGULATOR)):
        assert (await shown(party, activity)).issued_totals[0].units == 12
    # Another registry learns what FindIssuances would tell it: that and for when, not how much.
    (seen,) = (await shown(await wire.party(ARB), activity)).issued_totals
    assert seen == activity_pb2.IssuedTotal(registry="gec", instrument="GEC", span=month())
    assert not seen.HasField("units")


@pytest.mark.parametrize(
    ("periods", "quantity", "counted"),
    [
        # A year and its months: the year counts, its months are parts of it.
        ([(0, 90, 100), (0, 30, 30), (30, 60, 30), (60, 90, 30)], 100, 1),
        # Months, and a reading across two of them: what is certain is what comes before it.
        ([(0, 30, 10), (30, 60, 20), (15, 45, 999)], 10, 1),
        # Periods that only touch do not overlap; a gap is no fault.
        ([(0, 30, 10), (30, 60, 20), (70, 80, 5)], 35, 3),
    ],
)
async def test_no_instant_is_counted_twice(
    wire: Wire, gec: Party, periods: list[tuple[int, int, int]], quantity: int, counted: int
) -> None:
    activity = await wire.activity()
    for start, end, measured in periods:
        await gec.record(activity, measured, span(start, end))
    (total,) = (await shown(gec, activity)).measured_totals
    assert (total.quantity, total.outcome_count) == (quantity, counted)
    assert total.outcome_count + total.overlapping_count == len(periods)
    assert total.span == span(min(each[0] for each in periods), max(each[1] for each in periods))


async def test_a_total_beyond_what_the_wire_carries_is_told_as_the_most_it_carries(wire: Wire, gec: Party) -> None:
    activity = await wire.activity()
    for i in range(10):
        await gec.record(activity, 10**18, month(i))
    (total,) = (await shown(gec, activity)).measured_totals
    assert (total.quantity, total.outcome_count) == (2**63 - 1, 10)


async def test_relatives_are_named_and_a_merged_activity_answers_with_its_survivor(
    wire: Wire, ccer: Party, gec: Party
) -> None:
    operator = await wire.party(OPERATOR)
    whole, case, _ = await contradicted(ccer, gec)
    part = (await operator("DecideReviewCase", verdict(case, PART_OF, activity=whole))).activity
    assert list((await shown(ccer, whole)).parts) == [part]
    assert list((await shown(ccer, part)).wholes) == [whole]

    one, two = filing_code(), filing_code()
    kept, merged = (await ccer.register(one)).name, (await gec.register(two)).name
    recorded = await gec.record(merged, 42)
    refusal = await refused(ccer.register(one, two), Reason.IDENTITY_UNDER_REVIEW)
    case = f"reviewCases/{refusal.variables['case']}"
    decided = await operator("DecideReviewCase", verdict(case, SAME, activity=kept))
    assert decided.activity == kept
    found = await shown(gec, merged)
    assert (found.name, list(found.aliases)) == (kept, [merged])
    assert found.measured_totals[0].quantity == 42
    # Both names of the outcome lead to it; it says the one that stays.
    moved = recorded.name.replace(merged, kept)
    for name in (recorded.name, moved):
        assert (await gec("GetOutcome", pb2.GetOutcomeRequest(name=name))).name == moved
    assert await listed(gec, merged) == [[moved]]
    code, printed = await run_command(wire, "activity", "show", merged)
    assert code == 0
    assert f"{merged} was merged into this activity" in printed
    assert moved in printed


async def test_a_person_sees_it_all_on_one_page(wire: Wire, gec: Party) -> None:
    activity = await wire.activity(CCER, GEC)
    await gec.record(activity, 1_234_567)
    await gec.record(activity, 80_005, month(1), base_unit=BASE_UNIT_KGCO2E)
    await gec.issued(activity, units=1_200)
    activity_id = activity.removeprefix("activities/")
    code, printed = await run_command(wire, "activity", "show", activity_id.lower())
    assert code == 0
    for expected in (
        " ".join(activity_id[i : i + 4] for i in range(0, 16, 4)), f"urn:soleclaim:activity:{activity_id}",
        "张北风电场", "metering_point:", "ccer:", "1,234.567 MWh", "80.005 tCO2e", "GEC", "1,200",
        f"{activity}/outcomes/kWh.20250101T000000Z-20250131T000000Z",
    ):  # fmt: skip
        assert expected in printed
    code, printed = await run_command(wire, "activity", "show", activity_id, "--lang", "zh")
    assert code == 0
    assert "减排成果" in printed
    code, printed = await run_command(wire, "activity", "show", activity_id, "--json")
    document = json.loads(printed)
    assert document["activity"]["name"] == activity
    assert {each["quantity"] for each in document["outcomes"]} == {"1234567", "80005"}


async def test_a_person_finds_an_activity_by_an_identifier(wire: Wire, gec: Party) -> None:
    scheme, value = filing_code()
    known = await gec.register((scheme, value))
    arguments = ["activity", "find", "完全不同", "--country", "CN", "--identifier", f"{scheme}:{value}", "--json"]
    code, printed = await run_command(wire, *arguments)
    assert code == 0
    (candidate,) = json.loads(printed)["candidates"]
    assert (candidate["activity"], candidate["same"]) == (known.name, True)


async def test_an_outcome_has_a_label_too(wire: Wire, gec: Party, tmp_path: Path) -> None:
    recorded = await gec.record(await wire.activity(), 5)
    outcome = parse_outcome_id(recorded.name)
    urn = f"urn:soleclaim:outcome:{outcome.activity_id}:kWh.20250101T000000Z-20250131T000000Z"
    for text in (recorded.name, recorded.name.removeprefix("activities/"), urn):
        code, printed = await run_command(
            wire, "activity", "label", text, "--out", str(tmp_path / "label.svg"), by=None
        )
        assert code == 0
        assert urn in printed
        assert f"{print_in_fours(outcome.activity_id)} kWh.20250101T000000Z-20250131T000000Z" in printed
        assert "<svg" in (tmp_path / "label.svg").read_text(encoding="utf-8")
    code, printed = await run_command(wire, "activity", "label", recorded.name.replace("20250131", "20250132"), by=None)
    assert code == 2
    assert "is no instant" in printed
    code, printed = await run_command(
        wire, "activity", "label", f"urn:soleclaim:activity:{outcome.activity_id}", by=None
    )
    assert code == 0
    assert f"urn:soleclaim:activity:{outcome.activity_id}" in printed
