"""Described projects over the wire: joined without a key, found by who asks, refused with what to mend."""

import math
import secrets
from typing import Any

import pytest
from google.type.latlng_pb2 import LatLng

from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.core.errors import Reason
from tests.wire.conftest import REGULATOR, Party, Wire, project, refused, violations


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
