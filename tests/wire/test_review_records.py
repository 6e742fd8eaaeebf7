"""A review case shows both records side by side: what each registry says of the plant, where, and how far apart."""

import json
from typing import Any

import pytest
from google.type.latlng_pb2 import LatLng

from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import review_service_pb2 as pb2
from soleclaim.core.errors import Reason
from tests.wire.conftest import OPERATOR, REGULATOR, Party, Wire, meter, refused
from tests.wire.test_descriptions import syllables
from tests.wire.test_reviews import got, run

SHAXI = {"latitude": 31.62, "longitude": 105.95}
A_LITTLE_NORTH = {"latitude": 31.65, "longitude": 105.95}


@pytest.fixture
def wire(own_wire: Wire) -> Wire:
    """A store of its own: what other tests described could look alike."""
    return own_wire


def plant(name: str, **changed: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "owner": "Jialing Power", "owner_local": "嘉陵电力", "capacity_kw": 87_000, "commissioning_year": 2011,
        "region": "四川省", "position": LatLng(**SHAXI),
    }  # fmt: skip
    description = activity_pb2.PlantDescription(**fields | changed)
    return {"display_name": f"{name} Hydropower Project", "activity_type": "hydro", "description": description}


async def in_doubt(ccer: Party, gec: Party, **changed: Any) -> tuple[str, str]:
    """The activity that ccer described, and the case that gec's unlike description of the same opens."""
    name = syllables()
    known = await ccer.register(**plant(name))
    other = plant(
        name, **{"capacity_kw": 20_000, "name_local": "沙溪水电站", "position": LatLng(**A_LITTLE_NORTH)} | changed
    )
    refusal = await refused(gec.register(**other), Reason.IDENTITY_UNDER_REVIEW)
    return known.name, f"reviewCases/{refusal.variables['case']}"


async def test_both_records_stand_side_by_side_with_their_distance_and_a_map(
    wire: Wire, ccer: Party, gec: Party
) -> None:
    operator = await wire.party(OPERATOR)
    activity, case = await in_doubt(ccer, gec)
    seen = await got(operator, case)
    waiting = seen.registration
    assert (waiting.description.capacity_kw, waiting.description.name_local) == (20_000, "沙溪水电站")
    assert waiting.map_uri == (
        "https://www.openstreetmap.org/?mlat=31.650000&mlon=105.950000#map=14/31.650000/105.950000"
    )
    (candidate,) = [each for each in seen.candidates if each.activity.name == activity]
    (known,) = candidate.projects
    assert known.native_project == candidate.activity.native_projects[0]
    assert known.description == plant("")["description"]
    assert known.display_name == candidate.activity.display_name
    assert known.map_uri == (
        "https://www.openstreetmap.org/?mlat=31.620000&mlon=105.950000#map=14/31.620000/105.950000"
    )
    # 0.03 degrees of a meridian.
    assert known.distance_km == pytest.approx(3.336, abs=0.01)
    assert await got(await wire.party(REGULATOR), case) == seen
    # Its registry reads its own words back, and nothing of the other party's.
    own = await got(gec, case)
    assert own.registration == waiting
    assert not own.candidates
    assert "31.62" not in str(own)


@pytest.mark.parametrize("position", [None, LatLng(latitude=105.95, longitude=31.62)])
async def test_where_no_position_is_known_there_is_neither_map_nor_distance(
    wire: Wire, ccer: Party, gec: Party, position: LatLng | None
) -> None:
    """A position outside its country is a writing fault: it is shown as it was written, and leads nowhere."""
    activity, case = await in_doubt(ccer, gec, position=position)
    seen = await got(await wire.party(OPERATOR), case)
    assert seen.registration.map_uri == ""
    assert seen.registration.description.HasField("position") is (position is not None)
    (project,) = next(each for each in seen.candidates if each.activity.name == activity).projects
    assert project.map_uri
    assert not project.HasField("distance_km")


async def test_a_registration_without_a_description_shows_none(wire: Wire, ccer: Party, gec: Party) -> None:
    left, right = meter(), meter()
    await ccer.register(left)
    await gec.register(right)
    refusal = await refused(gec.register(left, right), Reason.IDENTITY_UNDER_REVIEW)
    seen: pb2.ReviewCase = await got(await wire.party(OPERATOR), f"reviewCases/{refusal.variables['case']}")
    assert not seen.registration.HasField("description")
    assert seen.registration.map_uri == ""
    assert [list(each.projects) for each in seen.candidates] == [[], []]


async def test_a_person_reads_them_in_one_table(wire: Wire, ccer: Party, gec: Party) -> None:
    activity, case = await in_doubt(ccer, gec)
    code, printed = await run(wire, "show", case)
    assert code == 0
    for expected in (
        activity, "Jialing Power", "嘉陵电力", "沙溪水电站", "87 MW", "20 MW", "2011", "四川省",
        "31.650000 105.950000", "https://www.openstreetmap.org/?mlat=31.620000&mlon=105.950000#map=14/", "3.336 km",
    ):  # fmt: skip
        assert expected in printed
    code, printed = await run(wire, "show", case, "--lang", "zh")
    assert code == 0
    for expected in ("装机容量", "位置", "距离"):
        assert expected in printed
    code, printed = await run(wire, "show", case, "--json")
    document = json.loads(printed)
    assert document["candidates"][0]["projects"][0]["distance_km"] == pytest.approx(3.336, abs=0.01)
