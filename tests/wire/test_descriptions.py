"""Described projects over the wire: joined without a key, found by who asks, refused with what to mend."""

import math
import secrets
from typing import Any

import pytest
from google.type.latlng_pb2 import LatLng

from soleclaim.api.common.v1.types_pb2 import Identifier
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import review_service_pb2 as review_pb2
from soleclaim.core.errors import Reason
from tests.wire.conftest import OPERATOR, REGULATOR, Party, Wire, fresh, meter, project, refused, violations
from tests.wire.test_activities import filing_code, vcs_number


@pytest.fixture
def wire(own_wire: Wire) -> Wire:
    """A store of its own: what other tests described could look alike."""
    return own_wire


def syllables() -> str:
    """A name of a place that no other test uses, in sounds that Chinese has."""
    return "".join(secrets.choice(("xia", "lun", "bei", "hong", "tao", "zhen", "gui", "fu")) for _ in range(5))


def described(name: str, *, local: str = "", **changed: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name_local": local, "capacity_kw": 87_000, "position": LatLng(latitude=31.62, longitude=105.95),
        "region": "四川省",
    }  # fmt: skip
    description = activity_pb2.PlantDescription(**fields | changed)
    return {"display_name": name, "activity_type": "hydro", "description": description}


async def test_a_described_project_needs_no_identifier_and_meets_its_other_name(
    wire: Wire, ccer: Party, gec: Party
) -> None:
    name = syllables()
    first = await ccer.register(**described(f"Sichuan {name.title()} Hydropower Project"))
    asked = activity_pb2.FindActivitiesRequest(
        country="CN", display_name=f"{name} hydro", description=described("")["description"], activity_type="hydro"
    )
    for party in (ccer, gec, await wire.party(REGULATOR)):
        (candidate,) = [
            each for each in (await party("FindActivities", asked)).candidates if each.activity == first.name
        ]
        assert candidate.same
        assert 0.8 <= candidate.probability <= 1
        assert candidate.reasons
        assert name not in "".join(candidate.reasons).lower()
    second = await gec.register(**described(f"{name} Hydro Power Station"))
    assert second.name == first.name


def asked(*identifiers: tuple[str, str], **more: Any) -> activity_pb2.FindActivitiesRequest:
    named = [Identifier(scheme=scheme, value=value) for scheme, value in identifiers]
    return activity_pb2.FindActivitiesRequest(country="CN", identifiers=named, **more)


async def found(party: Party, request: activity_pb2.FindActivitiesRequest) -> list[activity_pb2.ActivityCandidate]:
    return list((await party("FindActivities", request)).candidates)


async def test_an_identifier_finds_a_project_that_sent_no_description(wire: Wire, ccer: Party, gec: Party) -> None:
    shared, unsent = meter(), filing_code()
    first = await ccer.register(shared, unsent)
    for party in (ccer, gec, await wire.party(REGULATOR)):
        (candidate,) = await found(party, asked(shared))
        assert candidate == activity_pb2.ActivityCandidate(
            activity=first.name, probability=1.0, same=True, reasons=[f"shares {shared[0]} {shared[1]}"]
        )
    assert unsent[1] not in str(candidate)
    assert await found(gec, asked(meter())) == []
    # As found, so registered.
    assert (await gec.register(shared)).name == first.name


async def test_what_an_identifier_names_comes_before_what_looks_alike(ccer: Party, gec: Party) -> None:
    name, shared = syllables(), meter()
    lookalike = await ccer.register(**described(f"{name} Hydropower Project"))
    named = await ccer.register(shared)
    request = asked(shared, **described(f"{name} Hydro Power Station"))
    first, *others = await found(gec, request)
    assert (first.activity, first.same) == (named.name, True)
    assert lookalike.name in [each.activity for each in others]
    assert not any(each.same for each in others), "none of them would be joined any more"
    assert (await gec.register(shared, **described(f"{name} Hydro Power Station"))).name == named.name


async def test_identifiers_that_contradict_each_other_leave_it_to_a_person(ccer: Party, gec: Party) -> None:
    left, right = meter(), vcs_number()
    one, two = await ccer.register(left), await ccer.register(right)
    told = await found(gec, asked(left, right))
    assert {each.activity: (each.same, list(each.reasons)) for each in told} == {
        one.name: (False, [f"shares {left[0]} {left[1]}", "the identifiers belong to different activities"]),
        two.name: (False, [f"shares {right[0]} {right[1]}", "the identifiers belong to different activities"]),
    }
    await refused(gec.register(left, right), Reason.IDENTITY_UNDER_REVIEW)

    shared, theirs, other = meter(), filing_code(), filing_code()
    held = await ccer.register(shared, theirs)
    (candidate,) = await found(gec, asked(shared, other))
    assert (candidate.activity, candidate.same, candidate.probability) == (held.name, False, 0.5)
    assert candidate.reasons[1] == "two values of scheme gec_filing_code on one activity"
    assert theirs[1] not in str(candidate)
    await refused(gec.register(shared, other), Reason.IDENTITY_UNDER_REVIEW)


async def test_a_merged_activity_is_never_found(wire: Wire, ccer: Party, gec: Party) -> None:
    operator, name, one, two = await wire.party(OPERATOR), syllables(), meter(), vcs_number()
    kept = await ccer.register(one)
    merged = await ccer.register(two, **described(f"{name} Hydropower Project"))
    refusal = await refused(gec.register(one, two), Reason.IDENTITY_UNDER_REVIEW)
    decision = review_pb2.DecideReviewCaseRequest(
        request_id=fresh(), name=f"reviewCases/{refusal.variables['case']}", kind=review_pb2.REVIEW_DECISION_KIND_SAME,
        activity=kept.name, reason="现场核实",
    )  # fmt: skip
    assert (await operator("DecideReviewCase", decision)).activity == kept.name
    for request in (asked(two), asked(one, two), asked(**described(f"{name} Hydropower Project"))):
        candidates = await found(gec, request)
        assert (candidates[0].activity, candidates[0].same) == (kept.name, True)
        assert merged.name not in str(candidates)


async def test_an_undescribed_project_without_identifiers_is_refused(ccer: Party) -> None:
    refusal = await refused(ccer("RegisterActivity", project("ccer")), Reason.INVALID_REQUEST)
    assert [field for field, _ in violations(refusal)] == ["identifiers"]
    assert "or description must be given" in violations(refusal)[0][1]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"capacity_kw": -1}, "description.capacity_kw"),
        ({"capacity_kw": 2**40}, "description.capacity_kw"),
        ({"position": LatLng(latitude=math.nan, longitude=1)}, "description.position"),
        ({"commissioning_year": 20}, "description.commissioning_year"),
        ({"name_local": "a\x07b"}, "description.name_local"),
        ({"owner": "o" * 600}, "description.owner"),
        ({"region": " Sichuan"}, "description.region"),
    ],
)
async def test_faults_of_a_description_are_named(ccer: Party, changed: dict[str, Any], field: str) -> None:
    refusal = await refused(
        ccer("RegisterActivity", project("ccer", **described("Foo Hydro", **changed))), Reason.INVALID_REQUEST
    )
    assert [name for name, _ in violations(refusal)] == [field]


async def test_a_question_without_a_name_is_refused(ccer: Party) -> None:
    refusal = await refused(
        ccer("FindActivities", activity_pb2.FindActivitiesRequest(country="China")), Reason.INVALID_REQUEST
    )
    assert [name for name, _ in violations(refusal)] == ["country", "display_name"]
