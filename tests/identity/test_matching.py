"""Decisions on real labelled lists, on the half of the records that no weight was learnt from."""

import dataclasses
import hashlib
import json
import random
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from soleclaim.identity.blocking import FILING, keys_to_file
from soleclaim.identity.evaluation import Evaluation, evaluate
from soleclaim.identity.fitting import Labelled, fit, is_kept_apart
from soleclaim.identity.likeness import compare
from soleclaim.identity.lists import read_labels, read_list
from soleclaim.identity.matching import TOO_MANY, Decision, match
from soleclaim.identity.rarity import weigh
from soleclaim.identity.record import Description, read_profile
from soleclaim.identity.scoring import Reason, tell

DATA = Path(__file__).parent / "data"


@cache
def labelled(name: str) -> Labelled:
    folder = DATA / name
    return Labelled(
        read_list(folder / "left.csv").rows, read_list(folder / "right.csv").rows, read_labels(folder / "labels.csv")
    )


def without_places(one: Labelled, *, right: bool = True) -> Labelled:
    def bare(rows: list[Description]) -> list[Description]:
        return [dataclasses.replace(each, latitude=None, longitude=None) for each in rows]

    return Labelled(bare(list(one.left)), bare(list(one.right)) if right else one.right, one.labels)


def on_the_half_kept_apart(one: Labelled) -> Evaluation:
    decisions = [each for each in match(one.left, one.right) if is_kept_apart(each.left_id)]
    labels = {pair: label for pair, label in one.labels.items() if is_kept_apart(pair[0])}
    left_ids = [each.id for each in one.left if is_kept_apart(each.id)]
    return evaluate(decisions, labels, left_ids=left_ids, right_ids=[each.id for each in one.right])


def test_the_weights_are_what_fitting_gives() -> None:
    sets = [labelled(name) for name in ("wri_cdm", "cdm_gem", "lookalikes", "dukes_repd")]
    wri, gem, lookalikes, british = sets
    fitted = fit([wri, without_places(wri), gem, lookalikes, without_places(lookalikes), british,
                  without_places(british, right=False)])  # fmt: skip
    kept = json.loads(resources.files("soleclaim.identity").joinpath("data/weights.json").read_text(encoding="utf-8"))
    assert fitted["rivals"] == pytest.approx(kept["rivals"], abs=0.02)
    assert set(fitted["levels"]) == set(kept["levels"])
    for feature, table in fitted["levels"].items():
        assert table == pytest.approx(kept["levels"][feature], abs=0.02), feature


@pytest.mark.parametrize(
    ("name", "precision", "recall", "with_review"),
    [("wri_cdm", 0.999, 0.99, 0.999), ("cdm_gem", 0.99, 0.94, 0.99), ("dukes_repd", 0.99, 0.95, 0.98)],
)
def test_real_lists_are_joined(name: str, precision: float, recall: float, with_review: float) -> None:
    found = on_the_half_kept_apart(labelled(name))
    assert (found.precision.value or 0) >= precision
    assert (found.recall.value or 0) >= recall
    assert (found.recall_with_review.value or 0) >= with_review


def test_names_and_capacity_alone_are_enough_for_most() -> None:
    found = on_the_half_kept_apart(without_places(labelled("wri_cdm")))
    assert (found.precision.value or 0) >= 0.99
    assert (found.recall.value or 0) >= 0.96


def test_plants_whose_places_only_one_list_knows_are_joined() -> None:
    found = on_the_half_kept_apart(without_places(labelled("dukes_repd"), right=False))
    assert (found.precision.value or 0) >= 0.98
    assert (found.recall.value or 0) >= 0.84


def test_no_lookalikes_are_joined() -> None:
    one = labelled("lookalikes")
    joined = {(each.left_id, each.right_id) for each in match(one.left, one.right) if each.decision == "same"}
    assert len(joined) > 50, "records that stand in both lists are joined"
    assert not joined & {pair for pair, label in one.labels.items() if label == "different"}


def test_the_order_of_the_lists_does_not_matter() -> None:
    one = labelled("dukes_repd")
    left, right = list(one.left), list(one.right)
    first = _as_set(match(left, right))
    random.Random(7).shuffle(left)
    random.Random(8).shuffle(right)
    assert _as_set(match(left, right)) == first


def _as_set(decisions: list[Decision]) -> set[tuple[str, str, str]]:
    return {(each.left_id, each.right_id, each.decision) for each in decisions}


def plant(number: int, name: str, **more: object) -> Description:
    return dataclasses.replace(Description(id=str(number), name=name, country="China"), **more)  # type: ignore[arg-type]  # fields by name


def decided(left: Description, *right: Description) -> list[tuple[str, str]]:
    return [(each.right_id, each.decision) for each in match([left], right)]


def test_labels_of_records_that_no_list_has_are_counted_apart() -> None:
    labels = {("1", "2"): "same", ("1", "98"): "same", ("99", "2"): "different"}
    decision = Decision("1", "2", 0.99, "same", ())
    found = evaluate([decision], labels, left_ids=["1"], right_ids=["2"])
    assert (found.recall.hits, found.recall.of, found.strangers) == (1, 1, 2)
    assert found.as_document()["labels_of_unknown_records"] == 2


def test_phases_of_one_farm_are_never_joined() -> None:
    first = plant(1, "Huaneng Tongyu Xinhua 1B Wind Farm", capacity_mw=49.5, latitude=44.8, longitude=123.1)
    second = plant(2, "Huaneng Tongyu Xinhua 1E Wind Farm", capacity_mw=49.5, latitude=44.8, longitude=123.1)
    assert ("2", "same") not in decided(first, second)


def test_a_shared_strong_identifier_joins_and_a_contradicting_one_never_does() -> None:
    one = plant(1, "Anything Wind", capacity_mw=10.0, identifiers=(("gec_filing_code", "FDWD2407150000123"),))
    same = plant(2, "Anything Wind Farm", capacity_mw=10.0, identifiers=(("gec_filing_code", "FDWD2407150000123"),))
    other = plant(3, "Anything Wind Farm", capacity_mw=10.0, identifiers=(("gec_filing_code", "FDWD2407150000999"),))
    assert decided(one, same) == [("2", "same")]
    assert ("3", "same") not in decided(one, other)


def test_of_two_equal_candidates_none_is_joined() -> None:
    one = plant(1, "Gansu Qilinsi Hydropower", capacity_mw=111.0)
    twins = plant(2, "麒麟寺水电站", capacity_mw=111.0), plant(3, "麒麟寺水电站", capacity_mw=111.0)
    assert decided(one, twins[0]) == [("2", "same")]
    assert sorted(decided(one, *twins)) == [("2", "review"), ("3", "review")]


def test_short_names_find_each_other() -> None:
    one = plant(1, "Foo Wind 49.5MW", latitude=42.8, longitude=124.0)
    assert decided(one, plant(2, "Foo Wind Farm", capacity_mw=49.5, latitude=42.8, longitude=124.0)) == [("2", "same")]
    assert decided(plant(1, "Foo Wind 49.5MW"), plant(2, "Foo Wind Farm", capacity_mw=49.5)) != []


def test_every_decision_gives_its_reasons() -> None:
    (decision,) = match([plant(1, "Gansu Qilinsi Hydropower", capacity_mw=111.0)],
                        [plant(2, "麒麟寺水电站", capacity_mw=111.0)])  # fmt: skip
    assert any("name" in reason for reason in decision.reasons)
    assert any(reason.startswith("capacities equal") for reason in decision.reasons)


def test_a_capacity_cut_to_whole_megawatts_is_the_same() -> None:
    one = plant(1, "Gansu Qilinsi Hydropower", capacity_mw=1.0)
    assert decided(one, plant(2, "麒麟寺水电站", capacity_mw=1.5)) == [("2", "same")]
    assert ("2", "same") not in decided(one, plant(2, "麒麟寺水电站", capacity_mw=2.0)), "whole numbers are not cut"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        # A hydro plant of that name is 2 km from the wind farm; at 18 km a gas-fired plant; two places in 220 km.
        ({"name": "Rheidol", "place": (52.3962, -3.8993)}, {"name": "Rheidol Wind Farm", "place": (52.4076, -3.8772)}),
        ({"name": "Keadby", "place": (53.586, -0.4944)}, {"name": "Keadby Wind Farm", "place": (53.6118, -0.7637)}),
        (
            {"name": "Rosehall", "technology": "Wind", "place": (58.0033, -4.5508)},
            {"name": "Rosehill Wind Turbines", "place": (56.055, -3.8281)},
        ),
        (
            {"name": "Glens of Foudland", "technology": "Wind", "place": (57.2196, -2.8784)},
            {"name": "Glens of Foudland", "technology": "Wind Onshore", "place": (57.4253, -2.6361)},
        ),
    ],
)
def test_of_names_that_nothing_else_confirms_a_person_decides(left: dict[str, Any], right: dict[str, Any]) -> None:
    def british(number: int, *, name: str, place: tuple[float, float], technology: str = "") -> Description:
        return Description(
            str(number), name=name, technology=technology, latitude=place[0], longitude=place[1], country="GB"
        )

    assert decided(british(1, **left), british(2, **right)) == [("2", "review")]
    sizes = [dataclasses.replace(british(number, **each), capacity_mw=26.0) for number, each in ((1, left), (2, right))]
    confirmed = [dataclasses.replace(each, technology="Wind", latitude=57.4253, longitude=-2.6361) for each in sizes]
    assert decided(*confirmed) == [("2", "same")]


def test_one_country_or_a_person_decides() -> None:
    aras = Description("1", name="Aras", technology="Hydro", capacity_mw=22.0, country="IR")
    for country, decision in (("IR", "same"), ("AZ", "review"), ("Iran", "same")):
        other = dataclasses.replace(aras, id="2", name="Aras Hydroelectric Power Plant", country=country)
        assert decided(aras, other) == [("2", decision)]
    code = (("project-code", "2012-000291-44-02-000111"),)
    coded = [
        dataclasses.replace(aras, id=id_, country=country, identifiers=code)
        for id_, country in (("1", "IR"), ("2", "AZ"))
    ]
    assert decided(*coded) == [("2", "review")]


@pytest.mark.parametrize(
    ("name", "capacity_mw", "decision"),
    [
        ("Helios I and II", None, "review"),
        ("Helios", None, "review"),
        ("Helios I", None, "same"),
        ("Helios", 49.9, "same"),
    ],
)
def test_a_part_and_the_whole_are_told_apart_by_their_sizes(
    name: str, capacity_mw: float | None, decision: str
) -> None:
    part = Description("1", name="HELIOS-1", technology="Solar", capacity_mw=49.9, country="ES")
    whole = dataclasses.replace(part, id="2", name=f"{name} CSP Power Plant", capacity_mw=capacity_mw)
    assert decided(part, whole) == [("2", decision)]


@pytest.mark.parametrize(
    ("name", "capacity_mw", "decision"),
    [
        ("官厅抽水蓄能电站", 1400.0, "review"),
        ("官厅抽水蓄能电站", None, "review"),
        ("官厅水电站", 30.0, "same"),
        ("官厅抽水蓄能电站", 30.0, "same"),  # called a hydro plant in the other list
    ],
)
def test_a_pumped_storage_plant_beside_its_namesake(name: str, capacity_mw: float | None, decision: str) -> None:
    dam = plant(1, "Guanting Dam", technology="Hydro", latitude=40.2317, longitude=115.602, capacity_mw=30.0)
    other = plant(2, name, latitude=40.2325, longitude=115.6025, capacity_mw=capacity_mw)
    assert decided(dam, other) == [("2", decision)]


@pytest.mark.parametrize(
    ("name", "capacity_mw", "decision"),
    [
        ("Black Law Extension", 48.4, "same"),
        ("Black Law Extension - 1a", 48.4, "same"),
        ("Black Law Extension - 1a", 40.0, "review"),
        ("Black Law 3", 55.42, "review"),
        ("Black Law 2 Extension", 20.0, "review"),
    ],
)
def test_an_extension_is_the_second_phase_where_the_other_list_counts(
    name: str, capacity_mw: float, decision: str
) -> None:
    second = Description(
        "1", name="Black Law 2", technology="Wind", capacity_mw=55.42, latitude=55.7622, longitude=-3.7626, country="GB"
    )
    other = dataclasses.replace(second, id="2", name=name, capacity_mw=capacity_mw)
    assert decided(second, other) == [("2", decision)]


def test_a_scheme_of_common_words_is_found_on_its_spot() -> None:
    left = Description(
        "1", name="River E", technology="Hydro", capacity_mw=3.0, latitude=57.2135, longitude=-4.4506, country="GB"
    )
    right = dataclasses.replace(left, id="2", name="River E Hydro Scheme")
    assert decided(left, right) == [("2", "same")]
    assert decided(left, dataclasses.replace(right, latitude=57.3)) == [("2", "review")]


def test_a_solar_farms_modules_and_inverters_are_one_plant() -> None:
    inverters = plant(1, "West Bradley Solar Farm", capacity_mw=5.0, country="United Kingdom")
    modules = dataclasses.replace(inverters, id="2", capacity_mw=7.0)
    assert decided(inverters, modules) == [("2", "same")]
    assert ("2", "same") not in decided(inverters, dataclasses.replace(modules, capacity_mw=9.0))
    twin = dataclasses.replace(inverters, country="China")
    assert ("2", "same") not in decided(twin, dataclasses.replace(twin, id="2", capacity_mw=7.0)), "China has twins"


def test_a_county_has_one_incinerator_of_a_size_and_many_wind_farms() -> None:
    burner = plant(1, "Jieshou City Waste Incineration", capacity_mw=12.0)
    assert decided(burner, plant(2, "界首市生活垃圾焚烧发电项目", capacity_mw=12.0)) == [("2", "same")]
    assert ("2", "same") not in decided(burner, plant(2, "界首市生活垃圾焚烧发电项目", capacity_mw=15.0))
    farm = plant(1, "Jieshou City Wind Farm", capacity_mw=50.0)
    assert ("2", "same") not in decided(farm, plant(2, "界首市风电场", capacity_mw=50.0))


def test_names_that_speak_of_different_prefectures_count_against() -> None:
    one, other = plant(1, "大丰新港风电场"), plant(2, "揭阳新港风电场")
    assert compare(read_profile(one), read_profile(other), weigh).region == "other"
    assert compare(read_profile(one), read_profile(plant(3, "Dafeng Xingang Wind")), weigh).region == "county"
    assert compare(read_profile(one), read_profile(plant(4, "盐城新港风电场")), weigh).region == "prefecture"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "\0\x07\u202e",
        "Foo 水电 Бар ダム",
        "大丰" * 5000,
        "a&b " * 2500,
        "1 " * 5000,
        "㐀䶿县",
        "州县市",
        "and extension",
    ],
)
def test_bad_names_are_harmless(name: str) -> None:
    bad = plant(1, name, capacity_mw=49.5, latitude=44.8, longitude=123.1)
    good = plant(2, "Huaneng Tongyu Xinhua Wind Farm", capacity_mw=49.5, latitude=44.8, longitude=123.1)
    assert ("2", "same") not in decided(bad, good)


ROOFTOP = plant(0, "Baoshan Tangqiao Rooftop Solar", capacity_mw=6.0, latitude=31.2, longitude=121.4)


def crowd(number: int, **changed: Any) -> list[Description]:
    """Other plants of one name and place; each a size of its own unless told."""
    others = (dataclasses.replace(ROOFTOP, id=f"c{i}", capacity_mw=10 + i / 100) for i in range(number))
    return [dataclasses.replace(each, **changed) for each in others]


@pytest.mark.parametrize("number", [300, 450, 1000])
def test_a_crowd_of_one_name_and_place_hides_no_twin(number: int) -> None:
    twin = dataclasses.replace(ROOFTOP, id="twin")
    assert decided(ROOFTOP, *crowd(number), twin) == [("twin", "same")]


def test_a_crowd_that_place_tells_apart_hides_no_twin() -> None:
    twin = dataclasses.replace(ROOFTOP, id="twin")
    assert decided(ROOFTOP, *crowd(450, capacity_mw=6.0, latitude=35.0, longitude=110.0), twin) == [("twin", "same")]


@pytest.mark.parametrize("changed", [{}, {"capacity_mw": None}, {"latitude": None, "longitude": None}])
def test_of_a_crowd_that_nothing_tells_apart_a_person_decides(changed: dict[str, Any]) -> None:
    left = dataclasses.replace(ROOFTOP, **changed)
    found = match([left], crowd(450, **{"capacity_mw": 6.0, **changed}))
    assert found
    assert all((each.decision, each.reasons[0]) == ("review", TOO_MANY) for each in found)


def test_a_record_that_is_another_than_its_crowd_is_no_doubt() -> None:
    assert decided(dataclasses.replace(ROOFTOP, capacity_mw=60.0), *crowd(450)) == []


def test_an_identifier_tells_also_in_a_crowd() -> None:
    code = (("gec_filing_code", "FDWD2407150000123"),)
    one, other = (dataclasses.replace(ROOFTOP, id=each, identifiers=code) for each in ("0", "twin"))
    assert ("twin", "same") in decided(one, *crowd(450, capacity_mw=6.0), other)


def test_a_record_is_filed_under_few_keys() -> None:
    """Each is a row of the store and a question to it."""
    profiles = [read_profile(each) for each in labelled("wri_cdm").right]
    assert sum(len(keys_to_file(each)) for each in profiles) / len(profiles) < 20


def test_rules_that_give_other_keys_have_another_number() -> None:
    """Else what stores hold under the keys of before is no longer found: raise ``FILING``, then this digest."""
    digest = hashlib.sha256()
    for name in ("wri_cdm", "cdm_gem", "dukes_repd"):
        for described in labelled(name).right:
            digest.update("\n".join(sorted(keys_to_file(read_profile(described)))).encode())
    assert (FILING, digest.hexdigest()[:16]) == (2, "acad21542fbce4eb")


def test_every_level_that_has_a_weight_has_words() -> None:
    text = resources.files("soleclaim.identity").joinpath("data/weights.json").read_text("utf-8")
    told = {
        (feature, level): tell(Reason(feature, level, 0.0))
        for feature, levels in json.loads(text)["levels"].items()
        for level in levels
        if level != "unknown"
    }
    assert told["name where", "23 unknown"] == (
        "the names share 50 to 75 % and 75 to 100 % of what they tell, distance not known"
    )
    assert told["distance", "6"] == "distance 120 km or more"


SPOT: dict[str, Any] = {"technology": "Wind", "capacity_mw": 50.0, "latitude": 37.16, "longitude": -3.07}


@pytest.mark.parametrize("place", [SPOT, {**SPOT, "latitude": None, "longitude": None}])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Lower Bramble Hydro", "Upper Bramble Hydro"),
        ("Bramble North Wind Farm", "Bramble South Wind Farm"),
        ("Bramble Este", "Bramble Oeste"),
        ("Bramble Old", "Bramble New"),
        ("Bramble Wind Farm A", "Bramble Wind Farm B"),
        ("Bramble XI", "Bramble XII"),
        ("Bramble Alpha", "Bramble Beta"),
        ("Bramble Kalan", "Bramble Khurd"),
        ("Shiqiao Left Bank", "Shiqiao Right Bank"),
        ("通榆新华东风电场", "通榆新华西风电场"),
        ("上石桥水电站", "下石桥水电站"),
    ],
)
def test_opposite_words_are_two_plants_until_a_person_decides(one: str, other: str, place: dict[str, Any]) -> None:
    kind = {"technology": "Hydro"} if "Hydro" in one or "水电" in one else {}
    left, right = (Description(id_, name=name, **{**place, **kind}) for id_, name in (("1", one), ("2", other)))
    assert ("2", "same") not in decided(left, right)
    assert ("2", "same") in decided(left, dataclasses.replace(left, id="2"))


@pytest.mark.parametrize(
    ("part", "whole", "sizes", "decision"),
    [
        ("Baglihar-I", "Baglihar", (450.0, 900.0), "review"),
        ("Helios I", "Helios I and II", (50.0, 100.0), "review"),
        ("Pozo Almonte 3", "Pozo Almonte 2+3", (16.0, 23.5), "review"),
        ("Baglihar-I", "Baglihar", (450.0, 450.0), "same"),
        ("Helios I", "Helios I and II", (100.0, 100.0), "same"),
    ],
)
def test_a_part_is_not_the_whole_on_its_spot(part: str, whole: str, sizes: tuple[float, float], decision: str) -> None:
    left, right = (
        Description(id_, name=name, **{**SPOT, "technology": "Solar", "capacity_mw": size})
        for id_, name, size in zip("12", (part, whole), sizes, strict=True)
    )
    assert decided(left, right) == [("2", decision)]


def test_a_solar_farm_in_a_town_is_not_the_towns_farm_of_another_size() -> None:
    one = Description("1", name="Diego de Almagro Emelda", technology="Solar", capacity_mw=21.0, country="CL",
                      latitude=-26.39, longitude=-70.05)  # fmt: skip
    other = dataclasses.replace(one, id="2", name="Solar Diego de Almagro", capacity_mw=28.05, latitude=-26.43)
    assert decided(one, other) == [("2", "review")]
